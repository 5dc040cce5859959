// Package jstest tests package websocket on js/wasm. Its test for other systems
// compiles its tests for js and runs them in a headless Chromium, against a Go
// server.
package jstest
