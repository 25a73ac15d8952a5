package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(mainStatus()) }

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
