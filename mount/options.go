package mount

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/e4kit/e4kit/ext4fs"
)

// ErrOption is what ParseOptions and Set give for a word that is not an option,
// or for a value that one cannot have.
var ErrOption = errors.New("bad mount option")

// Errors says what follows when damage is found in the image.
type Errors uint8

// Reactions to damage.
const (
	ErrorsDefault   Errors = iota // as the superblock says
	ErrorsContinue                // note it and go on
	ErrorsRemountRO               // change nothing from then on
	ErrorsPanic                   // stop serving: everything fails with EIO
)

// Atime says when reading changes the time of the last access.
type Atime uint8

// Rules for the time of the last access.
const (
	AtimeRelative Atime = iota // when it is older than a change, or than a day
	AtimeNever
	AtimeStrict // always
)

// Switch is an option that can be on, off, or left to what is usual.
type Switch uint8

// States of a Switch.
const (
	SwitchDefault Switch = iota
	SwitchOn
	SwitchOff
)

// or is the switch's state where def is usual.
func (s Switch) or(def bool) bool {
	if s == SwitchDefault {
		return def
	}
	return s == SwitchOn
}

// Options is what can be said about a mount. The zero value is a mount as the
// kernel's driver makes it, for the user who mounts. Some fields are for who
// opens the image: ParseOptions collects them, and Server does not look at them.
type Options struct {
	// For who opens the image.

	ReadOnly       bool // also for the server: it lets nothing be changed
	ReadWrite      bool // rw was asked for: what is write-protected is refused
	NoLoad         bool // leave a pending journal alone; implies ReadOnly
	Data           ext4fs.DataMode
	CommitInterval time.Duration // 0 is the default, five seconds
	Discard        bool
	Offset         int64 // bytes into the image file where the file system begins
	Partition      string
	CacheSize      int64 // bytes of the metadata cache; 0 is the default
	LockFile       string
	Quota          bool // limits count
	DirectIO       bool // past the page cache to the image

	// For the server.

	Errors   Errors
	Atime    Atime
	LazyTime bool // times of access become durable with the next other change
	Sync     bool // every change is durable when the call returns
	DirSync  bool // the same for names
	ACL      Switch
	Xattr    Switch // user.* attributes
	MinixDF  bool   // statfs counts what the file system takes for itself as well
	FakeRoot bool   // every user may do what root may
	// UID and GID, where set, are who everything seems to belong to. Owners on
	// disk stay; what is new belongs to them.
	UID, GID *uint32
	// ReservedUID and ReservedGID, where set, are who may take the blocks that
	// are reserved for root, beside root; else the superblock says who.
	ReservedUID, ReservedGID *uint32
	// NoOpen lets the kernel open and close files without asking. That saves a
	// round trip each, but a file that may not be written then fails when its
	// data is written back, and not when it is opened.
	NoOpen bool
	// IDMap lets mounts that map user and group ids be made of this one
	// (mount_setattr(2)), where the kernel can and checks permissions.
	IDMap bool
	// ParallelDirect lets writes past the cache (O_DIRECT) to one file go on at the
	// same time, which Linux else does one by one unless they are asynchronous
	// (io_submit(2), io_uring). Linux then leaves the times of the file alone while
	// it is open: it shows those of the writes some milliseconds after the file was
	// closed by all who have it open, and before Linux 6.18 when it has forgotten
	// the file; a change of its mode or owner meanwhile brings the old ones back.
	ParallelDirect bool
	// IOURing has requests come by io_uring where the kernel offers that: Linux
	// 6.14 and later do once root writes Y to
	// /sys/module/fuse/parameters/enable_uring. Else they come by /dev/fuse, and
	// Logger is told if it was asked for. On is the default.
	IOURing Switch

	// For the mount itself.

	// BlkDev lets the kernel mount a block device that the file system is on as one
	// (see Device), which else it does where that has no price.
	BlkDev Switch
	// Device is the block device that the file system is on, nil if there is none.
	Device *Device

	AllowOther bool
	// Private keeps a mount of root's to root, where else everybody may come in,
	// and has the kernel check no permissions: one request less for a change of a
	// directory. Only processes with all of root's rights get anything but what
	// the kernel remembers; what fs.protected_* forbid root himself in sticky
	// directories he may. With AllowOther it means nothing; DefaultPermissions,
	// NoOpen, IDMap and ReadOnly keep the kernel's checks, and so do namespaces.
	Private            bool
	DefaultPermissions Switch // the kernel checks permissions; on, but with FakeRoot
	Suid, Dev, Exec    Switch // set-id bits, devices, programs count
	FSName             string // what mount(8) shows as the source
	Subtype            string // "fuse." and this is the type it shows
	NoDefaults         bool
	MaxRead            int // bytes of a read request, 0 as many as the kernel allows

	// Logger is told of errors and of the mount's life; nil is silence.
	Logger *slog.Logger
	// Trace tells Logger of every request, at the level of debugging.
	Trace bool
}

// Device is a block device that the whole of a file system is on. Root may have it
// mounted by the kernel as such, with the type fuseblk: then sync(2) and syncfs(2)
// make everything durable, and umount(2) returns when the device is closed. The
// kernel claims the device for itself.
type Device struct {
	Path string
	// Yield gives up the claim of who has opened the device, and Reclaim takes it
	// again: while the kernel has none.
	Yield, Reclaim func() error
	// Close closes the file system and the device; it is called before umount(2)
	// returns. Who has opened them may close them again.
	Close func() error
}

// ParseOptions reads a list as mount(8) takes it after -o: words separated by
// commas, a backslash before a comma that is meant. Later words win.
func ParseOptions(list string) (Options, error) {
	var o Options
	for _, word := range splitOptions(list) {
		if err := o.Set(word); err != nil {
			return Options{}, err
		}
	}
	return o, nil
}

// splitOptions cuts a list at its commas; empty words are left out.
func splitOptions(list string) []string {
	var words []string
	var b strings.Builder
	flush := func() {
		if b.Len() > 0 {
			words = append(words, b.String())
		}
		b.Reset()
	}
	for i := 0; i < len(list); i++ {
		switch c := list[i]; {
		case c == '\\' && i+1 < len(list) && (list[i+1] == ',' || list[i+1] == '\\'):
			i++
			b.WriteByte(list[i])
		case c == ',':
			flush()
		default:
			b.WriteByte(c)
		}
	}
	flush()
	return words
}

// Set takes one option: a word, or name=value. An error matches ErrOption.
func (o *Options) Set(word string) error {
	name, value, given := strings.Cut(word, "=")
	if given {
		set, ok := valueOptions[name]
		if !ok {
			if ignoredValues[name] || strings.HasPrefix(name, "x-") {
				return nil
			}
			return fmt.Errorf("%w: %q", ErrOption, word)
		}
		if err := set(o, value); err != nil {
			return fmt.Errorf("%w: %q: %w", ErrOption, word, err)
		}
		return nil
	}
	if set, ok := wordOptions[name]; ok {
		set(o)
		return nil
	}
	if ignoredWords[name] || strings.HasPrefix(name, "x-") {
		return nil
	}
	if _, ok := valueOptions[name]; ok {
		return fmt.Errorf("%w: %q needs a value", ErrOption, name)
	}
	return fmt.Errorf("%w: %q", ErrOption, word)
}

// wordOptions are those without a value.
var wordOptions = map[string]func(o *Options){
	"ro":            func(o *Options) { o.ReadOnly, o.ReadWrite = true, false },
	"rw":            func(o *Options) { o.ReadOnly, o.ReadWrite = false, true },
	"noload":        func(o *Options) { o.NoLoad, o.ReadOnly = true, true },
	"norecovery":    func(o *Options) { o.NoLoad, o.ReadOnly = true, true },
	"discard":       func(o *Options) { o.Discard = true },
	"nodiscard":     func(o *Options) { o.Discard = false },
	"directio":      func(o *Options) { o.DirectIO = true },
	"direct":        func(o *Options) { o.DirectIO = true },
	"quota":         func(o *Options) { o.Quota = true },
	"usrquota":      func(o *Options) { o.Quota = true },
	"grpquota":      func(o *Options) { o.Quota = true },
	"prjquota":      func(o *Options) { o.Quota = true },
	"noquota":       func(o *Options) { o.Quota = false },
	"noatime":       func(o *Options) { o.Atime = AtimeNever },
	"relatime":      func(o *Options) { o.Atime = AtimeRelative },
	"atime":         func(o *Options) { o.Atime = AtimeRelative },
	"norelatime":    func(o *Options) { o.Atime = AtimeStrict },
	"strictatime":   func(o *Options) { o.Atime = AtimeStrict },
	"nostrictatime": func(o *Options) { o.Atime = AtimeRelative },
	"lazytime":      func(o *Options) { o.LazyTime = true },
	"nolazytime":    func(o *Options) { o.LazyTime = false },
	"sync":          func(o *Options) { o.Sync = true },
	"async":         func(o *Options) { o.Sync = false },
	"dirsync":       func(o *Options) { o.DirSync = true },
	"acl":           func(o *Options) { o.ACL = SwitchOn },
	"noacl":         func(o *Options) { o.ACL = SwitchOff },
	"user_xattr":    func(o *Options) { o.Xattr = SwitchOn },
	"nouser_xattr":  func(o *Options) { o.Xattr = SwitchOff },
	"minixdf":       func(o *Options) { o.MinixDF = true },
	"bsddf":         func(o *Options) { o.MinixDF = false },
	"fakeroot":      func(o *Options) { o.FakeRoot = true },
	"idmap":         func(o *Options) { o.IDMap = true },
	"blkdev":        func(o *Options) { o.BlkDev = SwitchOn },
	"noblkdev":      func(o *Options) { o.BlkDev = SwitchOff },
	"io_uring":      func(o *Options) { o.IOURing = SwitchOn },
	"no_io_uring":   func(o *Options) { o.IOURing = SwitchOff },
	"no_open":       func(o *Options) { o.NoOpen = true },
	"parallel_dio":  func(o *Options) { o.ParallelDirect = true },
	"allow_other":   func(o *Options) { o.AllowOther, o.Private = true, false },
	"private":       func(o *Options) { o.AllowOther, o.Private = false, true },
	"suid":          func(o *Options) { o.Suid = SwitchOn },
	"nosuid":        func(o *Options) { o.Suid = SwitchOff },
	"dev":           func(o *Options) { o.Dev = SwitchOn },
	"nodev":         func(o *Options) { o.Dev = SwitchOff },
	"exec":          func(o *Options) { o.Exec = SwitchOn },
	"noexec":        func(o *Options) { o.Exec = SwitchOff },

	"default_permissions": func(o *Options) { o.DefaultPermissions = SwitchOn },
	"no_default_opts":     func(o *Options) { o.NoDefaults = true },
	"kernel": func(o *Options) {
		o.AllowOther, o.Private = true, false
		o.DefaultPermissions, o.Suid, o.Dev, o.ACL = SwitchOn, SwitchOn, SwitchOn, SwitchOn
	},
}

// ignoredWords mean nothing here, or what is done anyway, but stand in the
// lists of mounts.
var ignoredWords = map[string]bool{
	"defaults": true, "auto": true, "noauto": true, "nofail": true, "user": true, "users": true, "owner": true, "group": true,
	"nouser": true, "_netdev": true, "nodiratime": true, "diratime": true, "loud": true, "silent": true, "mand": true, "nomand": true,
	"iversion": true, "noiversion": true, "loop": true,
	"noblock_validity": true, "block_validity": true, "nodelalloc": true, "delalloc": true,
	"barrier": true, "nobarrier": true, "journal_checksum": true, "journal_async_commit": true, "nojournal_checksum": true,
	"grpid": true, "nogrpid": true, "bsdgroups": true, "sysvgroups": true, "auto_da_alloc": true, "noauto_da_alloc": true,
	"dioread_lock": true, "dioread_nolock": true, "init_itable": true, "noinit_itable": true, "i_version": true,
	"oldalloc": true, "orlov": true, "nombcache": true, "fuse2fs_debug": true, "fuse4fs_debug": true, "debug": true,
	"kernel_cache": true, "auto_cache": true, "nonempty": true, "big_writes": true, "hard_remove": true, "use_ino": true,
}

// ignoredValues are such options with a value.
var ignoredValues = map[string]bool{
	"barrier": true, "auto_da_alloc": true, "stripe": true, "inode_readahead_blks": true, "journal_ioprio": true,
	"max_batch_time": true, "min_batch_time": true, "max_dir_size_kb": true, "init_itable": true, "oom_score_adj": true,
	"attr_timeout": true, "entry_timeout": true, "negative_timeout": true, "comment": true, "iomap": true,
	"uhelper": true, "helper": true,
}

// valueOptions are those with a value.
var valueOptions = map[string]func(o *Options, v string) error{
	"data":       (*Options).setData,
	"errors":     (*Options).setErrors,
	"commit":     (*Options).setCommit,
	"offset":     func(o *Options, v string) (err error) { o.Offset, err = parseBytes(v); return err },
	"partition":  func(o *Options, v string) error { o.Partition = v; return notEmpty(v) },
	"cache_size": func(o *Options, v string) (err error) { o.CacheSize, err = parseBytes(v); return err },
	"lockfile":   func(o *Options, v string) error { o.LockFile = v; return notEmpty(v) },
	"uid":        func(o *Options, v string) (err error) { o.UID, err = parseID(v); return err },
	"gid":        func(o *Options, v string) (err error) { o.GID, err = parseID(v); return err },
	"resuid":     func(o *Options, v string) (err error) { o.ReservedUID, err = parseID(v); return err },
	"resgid":     func(o *Options, v string) (err error) { o.ReservedGID, err = parseID(v); return err },
	"fsname":     func(o *Options, v string) error { o.FSName = v; return notEmpty(v) },
	"subtype":    func(o *Options, v string) error { o.Subtype = v; return notEmpty(v) },
	"max_read":   (*Options).setMaxRead,
}

func (o *Options) setData(v string) error {
	switch v {
	case "ordered":
		o.Data = ext4fs.DataOrdered
	case "writeback":
		o.Data = ext4fs.DataWriteback
	case "journal":
		o.Data = ext4fs.DataJournal
	default:
		return errors.New("ordered, writeback and journal are known")
	}
	return nil
}

func (o *Options) setErrors(v string) error {
	switch v {
	case "continue":
		o.Errors = ErrorsContinue
	case "remount-ro":
		o.Errors = ErrorsRemountRO
	case "panic":
		o.Errors = ErrorsPanic
	default:
		return errors.New("continue, remount-ro and panic are known")
	}
	return nil
}

// setCommit takes seconds; none is the default, as in Linux.
func (o *Options) setCommit(v string) error {
	n, err := strconv.ParseUint(v, 10, 31)
	if err != nil {
		return errors.New("seconds are a number")
	}
	o.CommitInterval = time.Duration(n) * time.Second
	return nil
}

func (o *Options) setMaxRead(v string) error {
	n, err := strconv.ParseUint(v, 10, 31)
	if err != nil || n < 4096 {
		return errors.New("at least 4096 bytes")
	}
	o.MaxRead = int(n)
	return nil
}

func notEmpty(v string) error {
	if v == "" {
		return errors.New("it is empty")
	}
	return nil
}

func parseID(v string) (*uint32, error) {
	n, err := strconv.ParseUint(v, 10, 32)
	if err != nil || n == 1<<32-1 {
		return nil, errors.New("ids are numbers below 4294967295")
	}
	id := uint32(n)
	return &id, nil
}

// parseBytes reads a count of bytes: decimal, octal or hexadecimal, with k, m
// or g for powers of 1024.
func parseBytes(v string) (int64, error) {
	num, shift := v, 0
	if v != "" {
		switch v[len(v)-1] | 0x20 {
		case 'k':
			shift = 10
		case 'm':
			shift = 20
		case 'g':
			shift = 30
		}
	}
	if shift > 0 {
		num = v[:len(v)-1]
	}
	n, err := strconv.ParseUint(num, 0, 63)
	if err != nil || n > 1<<62>>shift {
		return 0, errors.New("a number of bytes, k, m or g behind it")
	}
	return int64(n) << shift, nil
}
