//go:build !386

package mount

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"strings"
	"syscall"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// An ioctl's number says what kind it has and how long its argument is; both
// differ between machines, as long does.
const (
	iocWrite = 1 // the caller gives
	iocRead  = 2 // the caller gets
)

// ioc takes a number apart: what remains is the same everywhere.
func ioc(cmd uint32) (dir, size uint32, kind byte, nr byte) {
	return cmd >> 30, cmd >> 16 & 0x3fff, byte(cmd >> 8), byte(cmd)
}

// ioctl is one call.
type ioctl struct {
	h   *handler
	n   *node
	in  *fuse.IoctlIn
	arg []byte // what the caller gives
	out []byte // what he gets
	ans *fuse.IoctlOut
}

// ioctlKey names an ioctl.
type ioctlKey struct {
	dir  uint32
	kind byte
	nr   byte
}

// ioctls are those that are served.
var ioctls = map[ioctlKey]func(c *ioctl) error{
	{iocRead, 'f', 1}:              (*ioctl).getFlags,
	{iocWrite, 'f', 2}:             (*ioctl).setFlags,
	{iocRead, 'X', 31}:             (*ioctl).getXattr,
	{iocWrite, 'X', 32}:            (*ioctl).setXattr,
	{iocRead, 'v', 1}:              (*ioctl).getVersion,
	{iocRead, 'f', 3}:              (*ioctl).getVersion,
	{iocWrite, 'v', 2}:             (*ioctl).setVersion,
	{iocWrite, 'f', 4}:             (*ioctl).setVersion,
	{iocRead | iocWrite, 'X', 121}: (*ioctl).trim,
	{iocRead, 0x94, 49}:            (*ioctl).getLabel,
	{iocWrite, 0x94, 50}:           (*ioctl).setLabel,
	{iocRead, 0x15, 0}:             (*ioctl).getUUID,
	{iocRead, 'f', 44}:             (*ioctl).extUUID,
	{iocRead, 'X', 125}:            (*ioctl).shutdown,
}

// Ioctl answers ioctl(2).
func (h *handler) Ioctl(_ <-chan struct{}, in *fuse.IoctlIn, arg []byte, out *fuse.IoctlOut, answer []byte) fuse.Status {
	n, err := h.known(in.NodeId)
	if err != nil {
		return h.fail(err)
	}
	dir, _, kind, nr := ioc(in.Cmd)
	serve, ok := ioctls[ioctlKey{dir, kind, nr}]
	if !ok {
		return fuse.Status(syscall.ENOTTY)
	}
	c := &ioctl{h: h, n: n, in: in, arg: arg, out: answer, ans: out}
	return h.fail(serve(c))
}

// changes says why the call, which changes something, cannot be served. Only
// owners may.
func (c *ioctl) changes() error {
	if err := c.h.mayChange(); err != nil {
		return err
	}
	if uid, _ := c.h.shownOwner(c.n.ino.Raw()); !c.privileged() && callerUID(&c.in.Caller) != uid {
		return ext4fs.ErrNotPermitted
	}
	return nil
}

// changesFlags is changes for what the kernel has its own check of, if it is new
// enough to hide the caller's id. Who owns the file depends on the mount then.
func (c *ioctl) changesFlags() error {
	if c.in.Uid == unknownID {
		return c.h.mayChange()
	}
	return c.changes()
}

// administers is changes for what concerns the whole file system: for who is
// root, or serves it.
func (c *ioctl) administers() error {
	if err := c.h.mayChange(); err != nil {
		return err
	}
	if !c.privileged() {
		return ext4fs.ErrNotPermitted
	}
	return nil
}

func (c *ioctl) privileged() bool {
	uid := callerUID(&c.in.Caller)
	return uid == 0 || uid == uint32(os.Geteuid()) || c.h.o.FakeRoot
}

// changed tells the kernel that attributes are not what it knows.
func (c *ioctl) changed() error {
	if c.h.kernel != nil {
		c.h.kernel.InodeNotify(c.in.NodeId, -1, 0)
	}
	return c.h.syncFile(c.n.ino)
}

// get32 reads the caller's number, which may be an int where a long is said.
func (c *ioctl) get32() (uint32, error) {
	if len(c.arg) < 4 {
		return 0, ext4fs.ErrInvalid
	}
	return binary.NativeEndian.Uint32(c.arg), nil
}

func (c *ioctl) put32(v uint32) error {
	if len(c.out) < 4 {
		return ext4fs.ErrInvalid
	}
	clear(c.out)
	binary.NativeEndian.PutUint32(c.out, v)
	return nil
}

// userFlags are the flags of inodes that Linux shows.
const userFlags = disk.InodeFlags(0x725bdfff)

func (c *ioctl) getFlags() error { return c.put32(uint32(c.n.ino.Flags() & userFlags)) }

func (c *ioctl) setFlags() error {
	v, err := c.get32()
	if err == nil {
		err = c.changesFlags()
	}
	if err == nil {
		c.protects(disk.InodeFlags(v))
		err = c.n.ino.SetFlags(disk.InodeFlags(v))
	}
	if err != nil {
		return err
	}
	return c.changed()
}

// protects has the kernel write what it took for the file before flags keep it from
// being written, where that cannot be told later; see mayWriteBack.
func (c *ioctl) protects(flags disk.InodeFlags) {
	if c.h.noOpen && flags&(disk.FlagImmutable|disk.FlagAppend) != 0 {
		c.h.writeBack(c.in.NodeId)
	}
}

// fsxattrSize is the size of struct fsxattr.
const fsxattrSize = 28

// xflags pairs the flags of inodes with those of struct fsxattr.
var xflags = [...]struct {
	flag disk.InodeFlags
	x    uint32
}{
	{disk.FlagImmutable, 0x8}, {disk.FlagAppend, 0x10}, {disk.FlagSync, 0x20}, {disk.FlagNoAtime, 0x40},
	{disk.FlagNoDump, 0x80}, {disk.FlagProjInherit, 0x200}, {disk.FlagDAX, 0x8000},
}

func (c *ioctl) getXattr() error {
	if len(c.out) < fsxattrSize {
		return ext4fs.ErrInvalid
	}
	clear(c.out)
	var x uint32
	flags := c.n.ino.Flags()
	for _, p := range xflags {
		if flags.Has(p.flag) {
			x |= p.x
		}
	}
	project, _ := c.n.ino.Raw().Project()
	binary.NativeEndian.PutUint32(c.out, x)
	binary.NativeEndian.PutUint32(c.out[12:], project)
	return nil
}

func (c *ioctl) setXattr() error {
	if len(c.arg) < fsxattrSize {
		return ext4fs.ErrInvalid
	}
	if err := c.changesFlags(); err != nil {
		return err
	}
	x, project := binary.NativeEndian.Uint32(c.arg), binary.NativeEndian.Uint32(c.arg[12:])
	flags := c.n.ino.Flags() & userFlags
	for _, p := range xflags {
		flags &^= p.flag
		if x&p.x != 0 {
			flags |= p.flag
		}
		x &^= p.x
	}
	if x&^(1<<31) != 0 { // "has attributes" is for reading
		return ext4fs.ErrNotSupported
	}
	a := &ext4fs.SetAttr{}
	if flags != c.n.ino.Flags()&userFlags {
		a.Valid, a.Flags = ext4fs.AttrFlags, flags
		c.protects(flags)
	}
	if now, _ := c.n.ino.Raw().Project(); now != project {
		a.Valid |= ext4fs.AttrProject
		a.Project = project
	}
	if a.Valid == 0 {
		return nil
	}
	if err := c.n.ino.SetAttr(a); err != nil {
		return err
	}
	return c.changed()
}

func (c *ioctl) getVersion() error { return c.put32(c.n.ino.Raw().Generation()) }

// setVersion changes the generation. The kernel knows the inode by it, too, and
// will look it up again.
func (c *ioctl) setVersion() error {
	v, err := c.get32()
	if err == nil {
		err = c.changes()
	}
	if err == nil {
		err = c.n.ino.SetAttr(&ext4fs.SetAttr{Valid: ext4fs.AttrGeneration, Generation: v})
	}
	if errors.Is(err, ext4fs.ErrNotSupported) {
		return syscall.ENOTTY
	}
	if err != nil {
		return err
	}
	return c.changed()
}

// trim is FITRIM: start, length and least run, in bytes; the length becomes
// what was trimmed.
func (c *ioctl) trim() error {
	if len(c.arg) < 24 || len(c.out) < 24 {
		return ext4fs.ErrInvalid
	}
	if err := c.administers(); err != nil {
		return err
	}
	var r [3]uint64
	for i := range r {
		r[i] = binary.NativeEndian.Uint64(c.arg[8*i:])
	}
	n, err := c.h.fsys.Trim(context.Background(), r[0], r[1], r[2])
	if err != nil {
		return err
	}
	copy(c.out, c.arg[:24])
	binary.NativeEndian.PutUint64(c.out[8:], n)
	return nil
}

// getLabel gives the label; the answer is 256 bytes long.
func (c *ioctl) getLabel() error {
	clear(c.out)
	if copy(c.out, c.h.fsys.Label()) == len(c.out) {
		return ext4fs.ErrInvalid
	}
	return nil
}

func (c *ioctl) setLabel() error {
	if err := c.administers(); err != nil {
		return err
	}
	label, _, found := strings.Cut(string(c.arg), "\x00")
	if !found || len(label) > 16 {
		return ext4fs.ErrInvalid
	}
	return c.h.fsys.SetLabel(label)
}

// getUUID is FS_IOC_GETFSUUID: a length and the UUID.
func (c *ioctl) getUUID() error {
	u := c.h.fsys.UUID()
	if len(c.out) < 1+len(u) {
		return ext4fs.ErrInvalid
	}
	clear(c.out)
	c.out[0] = byte(len(u))
	copy(c.out[1:], u[:])
	return nil
}

// extUUID is EXT4_IOC_GETFSUUID. Its argument has no end that the kernel knows:
// what can be told is the length alone.
func (c *ioctl) extUUID() error {
	if len(c.out) < 8 {
		return ext4fs.ErrInvalid
	}
	clear(c.out)
	binary.NativeEndian.PutUint32(c.out, uint32(len(c.h.fsys.UUID())))
	return nil
}

// shutdown is EXT4_IOC_SHUTDOWN. Its number says that it gives the caller
// something, while it takes: the kernel does not bring the argument, so that it
// is read from the caller, where that is allowed.
func (c *ioctl) shutdown() error {
	if err := c.administers(); err != nil {
		return err
	}
	mode := ext4fs.ShutdownSync
	if v, ok := peek(c.in.Pid, c.in.Arg); ok {
		mode = ext4fs.ShutdownMode(v)
	}
	if err := c.h.fsys.Shutdown(context.Background(), mode); err != nil {
		return err
	}
	c.h.die(errors.New("the file system was shut down by its user"))
	clear(c.out)
	if len(c.out) >= 4 { // what the caller gets is what he gave
		binary.NativeEndian.PutUint32(c.out, uint32(mode))
	}
	return nil
}

// peek reads a number in the memory of a process that waits for an answer.
func peek(pid uint32, addr uint64) (uint32, bool) {
	if pid == 0 || pid > math.MaxInt32 || addr > math.MaxUint {
		return 0, false
	}
	var b [4]byte
	local := []unix.Iovec{{Base: &b[0]}}
	local[0].SetLen(len(b))
	remote := []unix.RemoteIovec{{Base: uintptr(addr), Len: len(b)}}
	n, err := unix.ProcessVMReadv(int(pid), local, remote, 0)
	if err != nil || n != len(b) {
		return 0, false
	}
	return binary.NativeEndian.Uint32(b[:]), true
}
