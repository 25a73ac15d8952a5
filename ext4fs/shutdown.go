package ext4fs

import (
	"context"
	"fmt"
	"syscall"
)

// errShutdown is why nothing works after Shutdown. The journal does not note it
// as an error of the image.
var errShutdown = fmt.Errorf("the file system was shut down: %w", syscall.ESHUTDOWN)

// ShutdownMode says what becomes durable before a Shutdown.
type ShutdownMode uint32

// Modes of Shutdown, numbered as Linux numbers them.
const (
	ShutdownSync ShutdownMode = iota // everything
	ShutdownLog                      // what the journal knows
	ShutdownNow                      // nothing
)

// Shutdown stops the file system as a crash would: what is not durable then is
// lost, everything that writes gives ErrReadOnly from now on, and the next open
// recovers the image. It serves tests of recovery.
func (f *FS) Shutdown(ctx context.Context, mode ShutdownMode) error {
	if err := f.mayChange(); err != nil {
		return err
	}
	switch mode {
	case ShutdownSync, ShutdownLog:
		if err := f.Sync(ctx); err != nil {
			return err
		}
	case ShutdownNow:
	default:
		return fmt.Errorf("shutdown mode %d: %w", mode, ErrInvalid)
	}
	f.live.journal.Abort(errShutdown)
	return nil
}
