package browser

import (
	"os/exec"
	"syscall"
)

// ownGroup makes cmd the leader of a process group that ends with the test, even
// if the test crashes. It must be called before cmd starts.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// killGroup ends cmd and the processes of its group.
func killGroup(cmd *exec.Cmd) {
	syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
}
