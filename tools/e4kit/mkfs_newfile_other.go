//go:build !linux

package main

import (
	"errors"
	"os"
)

// createUnnamed has no support here.
func createUnnamed(string) (*os.File, error) { return nil, errors.ErrUnsupported }

// nameUnnamed has nothing to name.
func nameUnnamed(*os.File, string) error { return errors.ErrUnsupported }
