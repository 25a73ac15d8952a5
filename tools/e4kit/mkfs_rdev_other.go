//go:build !unix

package main

// deviceNumber knows no numbers here.
func deviceNumber(string) (major, minor uint32, ok bool) { return 0, 0, false }
