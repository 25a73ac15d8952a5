//go:build !linux

package main

import (
	"errors"
	"fmt"
)

// mountChild is the variable that tells a server in the background that it is
// one, where there are such.
const mountChild = "E4KIT_MOUNT_READY"

var errNoMounts = fmt.Errorf("mounting is known on Linux only: %w", errors.ErrUnsupported)

func (e *env) mountBackground() error { return errNoMounts }

func (e *env) mountReady(*mountRun) error { return nil }

func (e *env) catchSignals(*mountServer) (stop func()) { return func() {} }
