//go:build !linux

package browser

import "os/exec"

// ownGroup leaves cmd as it is: Chromium's processes end with the first.
func ownGroup(*exec.Cmd) {}

// killGroup ends cmd.
func killGroup(cmd *exec.Cmd) { cmd.Process.Kill() }
