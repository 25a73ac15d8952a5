package mount

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/e4kit/e4kit/ext4fs"
)

// Errors of a server's life.
var (
	// ErrMounted is returned by Mount on a server that has mounted before.
	ErrMounted = errors.New("this server has mounted before")
	// ErrNotMounted is returned by Unmount and Wait before Mount.
	ErrNotMounted = errors.New("not mounted")
)

// Server serves one file system at one mountpoint. Its methods are safe for
// concurrent use. A Server mounts once.
type Server struct {
	fsys  *ext4fs.FS
	o     Options
	core  core
	stats opStats

	mu      sync.Mutex // guards what follows
	begun   bool
	session session // nil until mounted

	done chan struct{} // closed when the session has ended and err is set
	err  error
}

// A session is one mount, from the kernel's agreement to its end.
type session interface {
	// serve answers requests until the mount has ended.
	serve() error
	// unmount asks the kernel to end the mount; lazily, the name goes at once
	// and the mount with its last user.
	unmount(lazy bool) error
	// describe adds what the session knows.
	describe(st *Stats)
}

// New makes a server of fsys. It does nothing yet; see [Server.Mount].
func New(fsys *ext4fs.FS, o Options) *Server {
	s := &Server{fsys: fsys, o: o, done: make(chan struct{})}
	s.core = newCore(fsys, &s.o)
	return s
}

// Mount makes the file system appear at mountpoint, which must be a directory.
// It returns when the kernel has agreed to talk: the directory can be used
// then. ctx bounds Mount alone, not the mount's life. When Mount fails,
// nothing is mounted and no goroutine remains.
func (s *Server) Mount(ctx context.Context, mountpoint string) error {
	s.mu.Lock()
	if s.begun {
		s.mu.Unlock()
		return ErrMounted
	}
	s.begun = true
	s.mu.Unlock()

	ses, err := s.start(ctx, mountpoint)
	if err != nil {
		s.mu.Lock()
		s.begun = false
		s.mu.Unlock()
		return fmt.Errorf("mount on %s: %w", mountpoint, err)
	}
	s.mu.Lock()
	s.session = ses
	s.mu.Unlock()
	go s.run(ses)
	return nil
}

// run serves until the end of the mount and syncs.
func (s *Server) run(ses session) {
	defer close(s.done)
	s.err = ses.serve()
	if c, ok := ses.(interface{ closed() bool }); !s.fsys.Writable() || ok && c.closed() {
		return
	}
	if err := s.fsys.Sync(context.Background()); err != nil && s.err == nil {
		s.err = err
	}
}

// Wait returns when the mount has ended, all requests are answered and all
// changes are on the image. The error is that of the transport, if it failed,
// else of the last sync. The file system stays open.
func (s *Server) Wait() error {
	if s.current() == nil {
		return ErrNotMounted
	}
	<-s.done
	return s.err
}

// Done is closed when the mount has ended; see [Server.Wait].
func (s *Server) Done() <-chan struct{} { return s.done }

// Unmount asks the kernel to end the mount and returns when the kernel has
// agreed; [Server.Wait] tells when all is written. While files are in use it
// fails with an error that matches EBUSY. It is nil for a mount that has ended.
func (s *Server) Unmount() error { return s.unmount(false) }

// UnmountLazy takes the mountpoint away at once; the mount ends when its last
// user does.
func (s *Server) UnmountLazy() error { return s.unmount(true) }

func (s *Server) unmount(lazy bool) error {
	ses := s.current()
	if ses == nil {
		return ErrNotMounted
	}
	select {
	case <-s.done:
		return nil
	default:
	}
	return ses.unmount(lazy)
}

// Stats tells what the server has done so far. It costs little.
func (s *Server) Stats() Stats {
	st := Stats{Ops: s.stats.snapshot()}
	s.core.describe(&st)
	if ses := s.current(); ses != nil {
		ses.describe(&st)
	}
	return st
}

func (s *Server) current() session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.session
}
