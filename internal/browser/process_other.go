//go:build !linux

package browser

import "os/exec"

// ownGroup does nothing: Chromium's processes end with the first one.
func ownGroup(*exec.Cmd) {}

// killGroup ends cmd.
func killGroup(cmd *exec.Cmd) { cmd.Process.Kill() }
