// Run a waveform file in onnxruntime-node or onnxruntime-web: node predict.cjs PACKAGE MODEL SAMPLES.f32 THRESHOLD
const fs = require("fs");

async function main([name, model, sound, threshold]) {
  const ort = require(`${process.cwd()}/node_modules/${name}`);
  if (name === "onnxruntime-web") ort.env.wasm.numThreads = 1;
  const bytes = fs.readFileSync(sound);
  const samples = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  const session = await ort.InferenceSession.create(fs.readFileSync(model));
  const results = await session.run({
    waveform: new ort.Tensor("float32", samples, [1, samples.length]),
    threshold: new ort.Tensor("float32", Float32Array.of(Number(threshold)), []),
  });
  const plain = Object.entries(results).map(([key, tensor]) => [key, Array.from(tensor.data)]);
  console.log(JSON.stringify({ names: session.outputNames, results: Object.fromEntries(plain) }));
}

main(process.argv.slice(2));
