"""How accurate an estimate is, on data with known f0; other trackers on the same audio; whether two answers agree."""
