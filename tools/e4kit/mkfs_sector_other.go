//go:build !linux

package main

// sectorSize is not known here: 512 is the usual one.
func sectorSize(string) int { return 512 }
