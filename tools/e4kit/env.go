package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// env is the world a verb lives in. Tests hand it buffers; nothing below main
// touches os.Stdout, os.Args or the process.
type env struct {
	ctx    context.Context
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	getenv func(string) string
	now    func() time.Time
	local  *time.Location

	outTTY, errTTY bool
	columns        int // of the terminal

	// Set from the global flags before the verb runs.
	json  bool
	verb  string
	flags openFlags

	// Set by the verbs that change images, before they open any.
	writes  bool // open images for writing
	bulk    bool // to write much
	dry     bool // change nothing, and say what would be changed
	yes     bool // block devices may be written to
	tells   bool // say what is changed
	discard bool // give freed space back

	mu     sync.Mutex // guards failed, out, progress and stderr
	failed failures
	out    *bufio.Writer
	style  *styles
	prog   *progress
	images *images
}

// newEnv returns the real world.
func newEnv(ctx context.Context) *env {
	e := &env{
		ctx:    ctx,
		stdin:  os.Stdin,
		stdout: os.Stdout,
		stderr: os.Stderr,
		getenv: os.Getenv,
		now:    time.Now,
		local:  time.Local,
		outTTY: term.IsTerminal(int(os.Stdout.Fd())),
		errTTY: term.IsTerminal(int(os.Stderr.Fd())),
	}
	e.columns = 80
	for _, f := range []*os.File{os.Stdout, os.Stderr} {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			e.columns = w
			break
		}
	}
	return e
}

// writer is buffered standard output. It is flushed at the end, before every
// message on standard error, and line by line on a terminal.
func (e *env) writer() *bufio.Writer {
	if e.out == nil {
		var w io.Writer = e.stdout
		if e.outTTY {
			w = &terminalWriter{e: e}
		}
		e.out = bufio.NewWriterSize(w, 64<<10)
	}
	return e.out
}

// terminalWriter takes the progress bar away before output lands on the same
// terminal.
type terminalWriter struct{ e *env }

func (t *terminalWriter) Write(p []byte) (int, error) {
	t.e.clearProgress()
	return t.e.stdout.Write(p)
}

// endLine is called by verbs after each line that a reader waits for.
func (e *env) endLine() error {
	if e.outTTY {
		return e.flush()
	}
	return nil
}

func (e *env) flush() error {
	if e.out == nil {
		return nil
	}
	return e.out.Flush()
}

// writeJSON writes one object on one line.
func (e *env) writeJSON(v any) error {
	enc := json.NewEncoder(e.writer())
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	return e.endLine()
}
