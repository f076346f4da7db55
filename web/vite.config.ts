import { defineConfig } from "vite";

export default defineConfig({
  // The page may stand below any path: all that it loads is found from its own address.
  base: "./",
  worker: { format: "es" },
  // The client library is used as it stands in this repository.
  resolve: {
    alias: { thoughtwire: new URL("../sdk/typescript/src/index.ts", import.meta.url).pathname },
  },
  esbuild: { jsx: "automatic", jsxImportSource: "preact" },
  build: {
    outDir: "dist/page",
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: { proxy: { "/v1": { target: "http://127.0.0.1:8282", ws: true } } },
});
