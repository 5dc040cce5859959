package main

import (
	"os"

	"golang.org/x/sys/windows"
)

// showsEscapes reports whether a console acts on escape sequences, and lets it if
// it is one that has them for the asking. One for input has none to show.
func showsEscapes(f *os.File) bool {
	console := windows.Handle(f.Fd())
	var mode uint32
	if windows.GetConsoleMode(console, &mode) != nil {
		return false
	}
	if f == os.Stdin || mode&windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING != 0 {
		return true
	}
	return windows.SetConsoleMode(console, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}
