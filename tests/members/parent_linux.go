package main

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// parentEnv names the parent's process id, so that a parent which ended before the signal was armed is noticed.
const parentEnv = "ARCHIPEL_MEMBERS_PARENT"

// endWithParent makes the kernel kill this process when the thread that started it ends.
func endWithParent() error {
	// The setting belongs to this thread: the main goroutine keeps it, so that it lasts as long as the process.
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return err
	}
	if wanted := os.Getenv(parentEnv); wanted != "" && wanted != strconv.Itoa(os.Getppid()) {
		return errors.New("the parent process has already ended")
	}
	return nil
}

// replaceWith runs a program in place of this one; the parent-death signal stays armed across exec.
func replaceWith(program string, args []string) error {
	path, err := exec.LookPath(program)
	if err != nil {
		return err
	}
	return syscall.Exec(path, args, os.Environ())
}
