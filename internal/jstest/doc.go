// Package jstest tests package websocket where it runs on js/wasm: its tests
// for js are compiled, and run in a headless Chromium against a Go server, by
// its test for every other system.
package jstest
