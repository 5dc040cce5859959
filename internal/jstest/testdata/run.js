"use strict";

// Runs the tests, and posts what they print, with their exit code.
let output = "";

const decoder = new TextDecoder();
globalThis.fs.writeSync = (fd, buf) => {
  output += decoder.decode(buf, { stream: true });
  return buf.length;
};

(async () => {
  const go = new Go();
  let code = -1;
  go.argv = ["jstest", "-test.v", "-test.timeout=1m"];
  go.env = { SERVER: location.origin };
  go.exit = (c) => { code = c; };
  try {
    const { instance } = await WebAssembly.instantiateStreaming(fetch("jstest.wasm"), go.importObject);
    await go.run(instance);
  } catch (e) {
    output += e.stack;
  }
  await fetch("results?code=" + code, { method: "POST", body: output });
})();
