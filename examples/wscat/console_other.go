//go:build !windows

package main

import "os"

// showsEscapes reports whether a terminal acts on escape sequences.
func showsEscapes(*os.File) bool { return true }
