package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	roomyStack()
	os.Exit(mainStatus())
}

// roomyStack has Go grow the stack once, while there is nothing on it, and not
// again and again while a command goes deeper: each time it looks up all frames.
//
//go:noinline
func roomyStack() byte {
	var room [24 << 10]byte
	return room[len(os.Args)%len(room)]
}

// mainStatus is main without the exit, so that defers run.
func mainStatus() int {
	boundMemory()
	// A broken pipe is an error of a write, not a death without clean-up.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the program at once.
	context.AfterFunc(ctx, stop)
	e := newEnv(ctx)
	words := mountWords(os.Args, verbNames())
	if words == nil {
		return exitOK
	}
	return run(e, words)
}
