package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/e4kit/e4kit/ext4fs"
)

// targetError says where in which image something went wrong.
type targetError struct {
	image string
	path  string // "" when it is about the image itself
	err   error
}

func (e *targetError) Error() string {
	if e.path == "" {
		return e.image + ": " + cause(e.err, e.image)
	}
	return e.image + ": " + e.path + ": " + cause(e.err, e.path)
}

func (e *targetError) Unwrap() error { return e.err }

// at wraps err with the image and the path it is about. An error that already
// says so is left alone.
func at(image, path string, err error) error {
	var te *targetError
	if err == nil || errors.As(err, &te) {
		return err
	}
	return &targetError{image, path, err}
}

// cause drops what a PathError repeats of the name that is printed anyway.
func cause(err error, name string) string {
	var pe *fs.PathError
	if p, ok := err.(*fs.PathError); ok {
		pe = p
	}
	if pe == nil {
		return err.Error()
	}
	if samePath(pe.Path, name) {
		return pe.Err.Error()
	}
	return pe.Path + ": " + pe.Err.Error()
}

func samePath(a, b string) bool {
	clean := func(s string) string { return strings.Trim(s, "/.") }
	return a == b || clean(a) == clean(b)
}

// hostError drops the operation's name from an error of the host's file
// system: "DEST: permission denied".
func hostError(err error) error {
	switch e := err.(type) {
	case *fs.PathError:
		return fmt.Errorf("%s: %w", e.Path, e.Err)
	case *os.LinkError:
		return fmt.Errorf("%s: %w", e.New, e.Err)
	}
	return err
}

// failureKind tells the everyday failures apart for JSON readers.
func failureKind(err error) string {
	switch {
	case errors.Is(err, ext4fs.ErrNotExt4):
		return "not-ext4"
	case errors.Is(err, fs.ErrNotExist):
		return "not-found"
	case errors.Is(err, fs.ErrPermission):
		return "permission"
	case errors.Is(err, fs.ErrExist):
		return "exists"
	}
	return "failed"
}

// errorObject is the JSON form of an error.
type errorObject struct {
	Image string `json:"image,omitempty"`
	Path  string `json:"path,omitempty"`
	What  string `json:"what"`
	Kind  string `json:"kind"`
}

// finalError closes the JSON output of a verb that failed.
type finalError struct {
	Error struct {
		errorObject
		Exit   int           `json:"exit"`
		Failed int           `json:"failed,omitempty"`
		Errors []errorObject `json:"errors,omitempty"`
	} `json:"error"`
}

func newErrorObject(err error) errorObject {
	o := errorObject{What: err.Error(), Kind: errorKind(err)}
	var te *targetError
	if errors.As(err, &te) {
		o.Image, o.Path = te.image, te.path
		o.What = cause(te.err, te.path)
	}
	return o
}

// maxListedErrors bounds the list in the final error object. Standard error
// has them all.
const maxListedErrors = 1000

// failures is what went wrong while a verb went on with the rest.
type failures struct {
	count  int
	done   int // pieces of work that went well
	listed []errorObject
	worst  int
}

func (f *failures) add(err error, keep bool) {
	f.count++
	if code := exitCode(err); f.count == 1 || worse(code, f.worst) {
		f.worst = code
	}
	if keep && len(f.listed) < maxListedErrors {
		f.listed = append(f.listed, newErrorObject(err))
	}
}

// worse orders statuses by how much they say: an interruption before a
// damaged image before an unsupported one before a plain failure.
func worse(a, b int) bool {
	rank := func(code int) int {
		switch code {
		case exitInterrupted, exitPipe:
			return 4
		case exitCorrupt:
			return 3
		case exitUnsupported:
			return 2
		}
		return 1
	}
	return rank(a) > rank(b)
}

// status is the exit status of a verb that ended without an error of its own.
func (f *failures) status() int {
	switch {
	case f.count == 0:
		return exitOK
	case f.worst == exitInterrupted, f.worst == exitPipe:
		return f.worst
	case f.done > 0:
		return exitPartly
	}
	return f.worst
}

// fail reports an error and goes on. The verb ends with status 3 if other
// work went well (did), else with the status of the worst error.
func (e *env) fail(err error) {
	if err == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failed.add(err, e.json)
	if isPipe(err) {
		return
	}
	e.printError(err)
}

// did notes a piece of work that went well.
func (e *env) did() {
	e.mu.Lock()
	e.failed.done++
	e.mu.Unlock()
}

// printError writes one line to standard error.
func (e *env) printError(err error) {
	e.flush()
	e.clearProgress()
	var usage *usageError
	fmt.Fprintf(e.stderr, "e4kit: %s\n", safeText(err.Error()))
	if errors.As(err, &usage) {
		hint := "e4kit help"
		if usage.command != "" {
			hint += " " + usage.command
		}
		fmt.Fprintf(e.stderr, "Try '%s'.\n", hint)
	}
}

// note writes a remark that is not an error to standard error.
func (e *env) note(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.flush()
	e.clearProgress()
	fmt.Fprintf(e.stderr, "e4kit: %s\n", safeText(fmt.Sprintf(format, args...)))
}

// finish turns the end of a verb into the exit status, after the last line of
// output.
func (e *env) finish(err error) int {
	e.endProgress()
	code := exitCode(err)
	if err == nil {
		code = e.failed.status()
	}
	var status statusError
	silent := errors.As(err, &status) || isPipe(err)
	if err != nil && !silent {
		e.printError(err)
	}
	if code != exitOK && code != exitPipe && e.json && !errors.As(err, &status) {
		e.writeJSON(e.finalError(err, code))
	}
	if flushErr := e.flush(); flushErr != nil && code != exitPipe {
		if isPipe(flushErr) {
			return exitPipe
		}
		fmt.Fprintf(e.stderr, "e4kit: standard output: %s\n", cause(flushErr, "/dev/stdout"))
		return exitFailed
	}
	return code
}

func (e *env) finalError(err error, code int) finalError {
	var f finalError
	f.Error.Exit = code
	f.Error.Failed = e.failed.count
	f.Error.Errors = e.failed.listed
	if err != nil {
		f.Error.errorObject = newErrorObject(err)
		return f
	}
	if len(f.Error.Errors) > 0 {
		f.Error.errorObject = f.Error.Errors[0]
	}
	if f.Error.Failed == 1 {
		f.Error.Errors = nil
	}
	if code == exitPartly {
		f.Error.Kind = "partly"
	}
	return f
}
