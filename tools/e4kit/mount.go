package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/mount"
)

const mountHelp = `Makes an image a directory, through FUSE: as root, or as an ordinary user with
fusermount3. What programs do there goes through the journal of the image; what
they fsync survives whatever happens to the server. A journal that waits for
recovery is replayed first (with -o ro only in memory). An image that somebody
else uses is refused, but for the server of a mount that is gone, for whose end it
waits up to ten seconds; one that is write-protected is mounted read-only, which it
says, unless -o rw asks for more.

IMAGE is a file or a block device, perhaps with partitions. With -o ro, or with
--overlay, it may be compressed. --overlay FILE keeps all changes in FILE, which
is made if there is none, and the image stays as it is; the next mount with it
goes on from there, and 'e4kit commit-overlay' applies it to the image.

The command returns when the mount is ready, with status 0, and a server stays in
the background; with --foreground it serves until it is unmounted. 'e4kit umount',
fusermount3 -u, umount(8) and SIGTERM, SIGINT or SIGHUP to the server unmount and
leave a clean image; a second signal takes the directory away although it is in
use. Messages go to standard error, in the background to --log-file or to the
journal of systemd, if there is one.

OPTIONS are those of ext4 and of fuse2fs: ro, rw, noload, data=ordered|writeback|
journal, commit=SECONDS, errors=continue|remount-ro|panic, sync, dirsync, noatime,
relatime, strictatime, lazytime, acl, noacl, user_xattr, minixdf, discard, offset=,
partition=, cache_size=, direct, lockfile=, overlay=, log_file=, fakeroot, uid=, gid=,
resuid=, resgid=, idmap (the mount may be mounted again with other ids), no_open
(open files without asking the server: what may not be written fails at close),
parallel_dio (O_DIRECT writes to a file go on at once, its times change when it is
closed), allow_other, private (root's mount is for root alone, and changes of directories
cost less), default_permissions, suid, dev, exec and their opposites, no_io_uring,
fsname=, subtype=, max_read=, blkdev and noblkdev. Words of fstab that are not about
the file system are ignored.

Once root has written Y to /sys/module/fuse/parameters/enable_uring the kernel (Linux
6.14 and later) asks new mounts by io_uring, which is faster; 'e4kit status' tells. With
no_io_uring it does not; with io_uring the server says when it cannot.

A whole block device that root mounts for writing is one for the kernel as well
(type fuseblk), with blkdev, or on Linux 6.18 and later without discard and outside
of containers: umount(8) returns when it is clean and closed, and sync(2) and
syncfs(2) make everything durable.

As mount.e4kit, mount.fuse.e4kit or from mount.fuse(8) it takes their arguments,
so that 'mount -t fuse.e4kit' and a line in fstab work:
  /srv/data.img  /mnt/data  fuse.e4kit  defaults,nofail,allow_other  0 0

Examples:
  e4kit mount disk.img mnt
  e4kit mount -o ro disk.img.gz mnt
  e4kit mount --partition 2 -o uid=1000,gid=1000 sdcard.img mnt
  e4kit mount --overlay changes.ovl disk.img mnt
  e4kit mount -f --trace-ops --log-level debug disk.img mnt
  e4kit mount --metrics 127.0.0.1:9401 disk.img mnt`

// mountRun is what a command line asks for.
type mountRun struct {
	image, dir string // absolute
	options    mount.Options
	foreground bool
	overlay    string // absolute; "" for none
	logFile    string // the same
	level      slog.Level
	trace      bool
	metrics    string
}

func mountCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:        "mount",
		Usage:       "make an image a directory",
		ArgsUsage:   "IMAGE MOUNTPOINT",
		Category:    categoryMount,
		Description: mountHelp,
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "options", Aliases: []string{"o"}, Usage: "mount with `OPTIONS`, separated by commas"},
			&cli.BoolFlag{Name: "read-only", Aliases: []string{"r"}, Usage: "change nothing, as -o ro"},
			&cli.BoolFlag{Name: "foreground", Aliases: []string{"f"}, Usage: "serve until it is unmounted"},
			&cli.StringFlag{Name: "overlay", Usage: "keep all changes in `FILE`"},
			&cli.StringFlag{Name: "log-file", Usage: "append messages to `FILE`"},
			&cli.StringFlag{Name: "log-level", Usage: "tell what is as bad as `LEVEL`: debug, info (the default), warn, error"},
			&cli.BoolFlag{Name: "trace-ops", Usage: "log every request"},
			&cli.StringFlag{Name: "metrics", Usage: "serve counters for Prometheus at `ADDRESS:PORT`, a loopback one"},
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, e, 2, 2); err != nil {
				return err
			}
			r, err := e.mountFlags(c)
			if err != nil {
				return err
			}
			if !r.foreground && e.getenv(mountChild) == "" {
				return e.mountBackground()
			}
			return e.mount(r)
		},
	}
}

// mountFlagsOf are the flags of every command that those about mounts have.
func mountFlagsOf(command string) []cli.Flag {
	names := map[string][]string{
		"mount":          {"json", "partition", "offset", "journal", "ignore-checksums", "cache"},
		"commit-overlay": {"json", "partition", "offset"},
	}[command]
	if names == nil {
		names = []string{"json"}
	}
	var list []cli.Flag
	for _, f := range globalFlags() {
		if slices.Contains(names, f.Names()[0]) {
			list = append(list, f)
		}
	}
	return list
}

// mountLevels are the words of --log-level.
var mountLevels = []string{"debug", "info", "warn", "error"}

// mountFlags reads the command line.
func (e *env) mountFlags(c *cli.Context) (*mountRun, error) {
	r := &mountRun{foreground: c.Bool("foreground"), trace: c.Bool("trace-ops"), metrics: c.String("metrics")}
	own, err := r.takeOptions(c.StringSlice("options"))
	if err != nil {
		return nil, e.usagef("-o: %v", err)
	}
	if c.Bool("read-only") {
		r.options.ReadOnly = true
	}
	if err := e.mountPlace(&r.options); err != nil {
		return nil, err
	}
	level := c.String("log-level")
	if level == "" {
		level = "info"
	}
	if !slices.Contains(mountLevels, level) {
		return nil, e.usagef("--log-level %s: want debug, info, warn or error", level)
	}
	if err := r.level.UnmarshalText([]byte(level)); err != nil {
		return nil, e.usagef("--log-level: %v", err)
	}
	if r.trace {
		r.level = min(r.level, slog.LevelDebug)
	}
	if r.metrics != "" {
		if err := loopback(r.metrics); err != nil {
			return nil, e.usagef("--metrics %s: %v", r.metrics, err)
		}
	}
	for _, p := range []struct {
		to         *string
		flag, word string
	}{{&r.overlay, c.String("overlay"), own["overlay"]}, {&r.logFile, c.String("log-file"), own["log_file"]}, {&r.image, c.Args().Get(0), ""}, {&r.dir, c.Args().Get(1), ""}} {
		name := p.flag
		if name == "" {
			name = p.word
		}
		if name == "" {
			continue
		}
		// The server leaves the current directory.
		if *p.to, err = filepath.Abs(name); err != nil {
			return nil, err
		}
	}
	if r.image == "" || r.dir == "" {
		return nil, e.usagef("an empty name")
	}
	return r, nil
}

// takeOptions reads lists of mount options. The words that are the command's
// own are returned.
func (r *mountRun) takeOptions(lists []string) (map[string]string, error) {
	own := map[string]string{}
	for _, list := range lists {
		for _, word := range splitMountOptions(list) {
			name, value, given := strings.Cut(word, "=")
			if given && (name == "overlay" || name == "log_file") {
				if value == "" {
					return nil, fmt.Errorf("%s needs a value", name)
				}
				own[name] = value
				continue
			}
			if err := r.options.Set(word); err != nil {
				return nil, err
			}
		}
	}
	return own, nil
}

// splitMountOptions takes a list apart at its commas, but for those with a
// backslash in front.
func splitMountOptions(list string) []string {
	var words []string
	var b strings.Builder
	for i := 0; i <= len(list); i++ {
		switch {
		case i == len(list) || list[i] == ',':
			if b.Len() > 0 {
				words = append(words, b.String())
			}
			b.Reset()
		case list[i] == '\\' && i+1 < len(list) && (list[i+1] == ',' || list[i+1] == '\\'):
			i++
			b.WriteByte(list[i])
		default:
			b.WriteByte(list[i])
		}
	}
	return words
}

// mountPlace joins the flags of every command with the options that say the
// same.
func (e *env) mountPlace(o *mount.Options) error {
	if o.Offset != 0 {
		if e.flags.hasOffset && e.flags.offset != o.Offset {
			return e.usagef("--offset and -o offset= differ")
		}
		e.flags.offset, e.flags.hasOffset = o.Offset, true
	}
	if o.Partition != "" {
		if e.flags.partition != "" && e.flags.partition != o.Partition {
			return e.usagef("--partition and -o partition= differ")
		}
		e.flags.partition = o.Partition
	}
	if e.flags.hasOffset && e.flags.partition != "" {
		return e.usagef("an offset and a partition exclude each other")
	}
	if o.CacheSize != 0 && e.flags.cache == 0 {
		e.flags.cache = o.CacheSize
	}
	if o.NoLoad {
		if e.flags.journal != "" {
			return e.usagef("--journal and -o noload exclude each other")
		}
		e.flags.noJournal = true
	}
	return nil
}

// loopback refuses addresses that others than this host can reach.
func loopback(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return errors.New("want an address such as 127.0.0.1:9401")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return errors.New("want a port from 1 to 65535")
	}
	if ip := net.ParseIP(host); ip == nil && host != "localhost" || ip != nil && !ip.IsLoopback() {
		return errors.New("only loopback addresses are served: the counters have names of files of this host")
	}
	return nil
}

// mountTarget checks where to mount before anything is opened.
func mountTarget(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return at(dir, "", err)
	case !info.IsDir():
		return at(dir, "", &fs.PathError{Op: "mount", Path: dir, Err: errors.New("is not a directory")})
	}
	return nil
}

// mount serves an image until it is unmounted.
func (e *env) mount(r *mountRun) (err error) {
	if err := mountTarget(r.dir); err != nil {
		return err
	}
	log, closeLog, err := e.mountLog(r)
	if err != nil {
		return err
	}
	defer closeLog()
	m, err := e.mountOpen(r, log)
	if err != nil {
		return err
	}
	s := &mountServer{mountRun: r, mountImage: m, log: log, closed: make(chan struct{})}
	defer func() {
		closing := s.close()
		if closing != nil {
			log.Error("close the image", "error", closing)
			err = errors.Join(err, at(r.image, "", closing))
		}
		s.endStatus()
	}()
	stop := e.catchSignals(s)
	defer stop()
	if err := e.ctx.Err(); err != nil {
		return err
	}
	r.options.Device = m.asDevice()
	s.server = mount.New(m.fs, r.options)
	if err := s.server.Mount(e.ctx, r.dir); err != nil {
		return at(r.image, "", err)
	}
	s.startStatus(e.getenv)
	if err := e.startMetrics(s); err != nil {
		log.Error("metrics", "error", err)
		return errors.Join(at(r.metrics, "", err), s.giveUp())
	}
	log.Info("mounted", "image", r.image, "on", r.dir, "read-only", !m.fs.Writable(), "pid", os.Getpid())
	if err := e.mountReady(r); err != nil {
		return errors.Join(err, s.giveUp())
	}
	return s.serve(e.ctx)
}

// giveUp ends a mount that was just made.
func (s *mountServer) giveUp() error {
	if err := s.server.UnmountLazy(); err != nil {
		return err
	}
	return s.server.Wait()
}

// mountServer is a mount that is served.
type mountServer struct {
	*mountRun
	*mountImage
	server  *mount.Server
	log     *slog.Logger
	signals chan os.Signal
	status  *statusServer // nil where there is no place for its socket
	// counters answers Prometheus; nil if that is not wanted.
	counters *statusServer
	closed   chan struct{} // closed when the image is
	// closeErr is set before closed is closed.
	closeErr error
}

// serve waits for the end of the mount, and for signals that ask for it. A
// mount that is in use stays at the first one; the second takes the name away;
// the third ends the server, whoever uses it.
func (s *mountServer) serve(ctx context.Context) error {
	asked, signals := 0, 0
	cancelled := ctx.Done()
	for {
		now := asked
		select {
		case <-s.server.Done():
			err := s.server.Wait()
			if err != nil {
				s.log.Error("the mount ended", "error", err)
				return at(s.image, "", err)
			}
			s.log.Info("unmounted", "image", s.image)
			return nil
		case sig := <-s.signals:
			signals++
			now = max(now, signals)
			s.log.Info("signal", "signal", sig.String())
		case <-cancelled:
			// The signal that did it may come by the other way as well.
			cancelled = nil
			now = max(now, 1)
		}
		if now == asked {
			continue
		}
		asked = now
		if err := s.end(asked); err != nil {
			return err
		}
	}
}

// end asks for the end of the mount for the n-th time.
func (s *mountServer) end(n int) error {
	switch n {
	case 1:
		err := s.server.Unmount()
		if err == nil {
			return nil
		}
		s.log.Error("cannot unmount; another signal takes the directory away", "error", err, "users", strings.Join(mountUsers(s.dir), ", "))
		if s.fs.Writable() {
			if err := s.fs.Sync(context.Background()); err != nil {
				s.log.Error("write what there is", "error", err)
			}
		}
	case 2:
		if err := s.server.UnmountLazy(); err != nil {
			s.log.Error("cannot take the directory away", "error", err)
		}
	default:
		return at(s.image, "", errors.New("ended by a signal while files were open"))
	}
	return nil
}
