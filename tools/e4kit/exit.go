package main

import (
	"context"
	"errors"
	"syscall"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Exit status of every verb. The checker has its own, customary one.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitPartly      = 3
	exitCorrupt     = 4
	exitUnsupported = 5
	exitInterrupted = 130
	// exitPipe is what a shell sees of a program that died of SIGPIPE, which
	// is what the other end of a broken pipe expects of us.
	exitPipe = 141
)

// usageError is a mistake on the command line: exit status 2, with a pointer
// to the help of the command.
type usageError struct {
	command string // "" for the program itself
	msg     string
}

func (e *usageError) Error() string { return e.msg }

// statusError ends a verb with a status and no message of its own: diff says
// "they differ" this way.
type statusError int

func (e statusError) Error() string { return "exit status" }

// interruption is the end of a verb by a signal. It matches context.Canceled.
type interruption struct{ what string }

func (i interruption) Error() string { return "interrupted" + i.what }

func (interruption) Is(target error) bool { return target == context.Canceled }

// isPipe reports whether err says that nobody reads our output any more.
func isPipe(err error) bool { return errors.Is(err, syscall.EPIPE) }

// exitCode derives the exit status from the error that ended a verb.
func exitCode(err error) int {
	var usage *usageError
	var status statusError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &status):
		return int(status)
	case errors.As(err, &usage):
		return exitUsage
	case isPipe(err):
		return exitPipe
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, ext4fs.ErrNotExt4):
		return exitFailed // something else altogether is no damaged image
	case errors.Is(err, disk.ErrCorrupt), errors.Is(err, disk.ErrChecksum):
		return exitCorrupt
	case errors.Is(err, disk.ErrUnsupported):
		return exitUnsupported
	}
	return exitFailed
}

// errorKind is the stable word that JSON output has for an error.
func errorKind(err error) string {
	switch exitCode(err) {
	case exitUsage:
		return "usage"
	case exitInterrupted:
		return "interrupted"
	case exitUnsupported:
		return "unsupported"
	case exitCorrupt:
		if errors.Is(err, disk.ErrChecksum) {
			return "checksum"
		}
		return "corrupt"
	}
	return failureKind(err)
}
