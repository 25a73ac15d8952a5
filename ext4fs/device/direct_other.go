//go:build !linux

package device

import "os"

// directFile is not made on this system.
type directFile struct{}

func openDirect(*os.File, Direct, bool) *directFile { return nil }

func (*directFile) close() error                       { return nil }
func (*directFile) writes() bool                       { return false }
func (*directFile) readAt([]byte, int64) int           { return 0 }
func (*directFile) writeAt([]byte, int64) (int, error) { return 0, nil }
