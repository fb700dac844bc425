"""The command `rmvpe`: one module per subcommand, which parses its flags and calls the library."""
