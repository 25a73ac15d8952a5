//go:build !linux || 386

package mount

import (
	"context"
	"errors"
	"fmt"
	"runtime"
)

// start always fails: there is no transport for this system.
func (s *Server) start(context.Context, string) (session, error) {
	return nil, fmt.Errorf("mounting is not supported on %s/%s: %w", runtime.GOOS, runtime.GOARCH, errors.ErrUnsupported)
}
