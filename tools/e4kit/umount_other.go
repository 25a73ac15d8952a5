//go:build !linux

package main

import (
	"context"
	"os"
)

func mountTable() ([]mountEntry, error) { return nil, errNoMounts }

func dirOf(string, int) error { return errNoMounts }

func closeDir(dir string) error { return os.Chmod(dir, 0o700) }

func unmountDir(context.Context, string, bool) error { return errNoMounts }

func mountUsers(string) []string { return nil }
