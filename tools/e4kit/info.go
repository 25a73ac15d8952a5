package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

func infoCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "info",
		Usage:     "show what an image is: features, geometry, journal, space, health",
		ArgsUsage: "IMAGE...",
		Category:  categoryLook,
		Description: `Sums up the superblock. 'e4kit dump super' shows all of it.

Examples:
  e4kit info disk.img
  e4kit info --json *.img | jq '{image, label, health: .health.state}'`,
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, e, 1, -1); err != nil {
				return err
			}
			return runInfo(e, c.Args().Slice())
		},
	}
}

// infoRecord is an image at a glance.
type infoRecord struct {
	Image      string        `json:"image"`
	Type       string        `json:"type"` // ext2, ext3, ext4
	Label      string        `json:"label"`
	UUID       string        `json:"uuid"`
	Containers []string      `json:"containers,omitempty"`
	Partition  *infoPart     `json:"partition,omitempty"`
	Offset     int64         `json:"offset"`
	Features   []string      `json:"features"`
	Geometry   infoGeometry  `json:"geometry"`
	Space      *dfRecord     `json:"space"`
	Journal    infoJournal   `json:"journal"`
	Health     infoHealth    `json:"health"`
	Times      infoTimes     `json:"times"`
	Users      []infoUse     `json:"in_use_by,omitempty"`
	Encoding   *infoEncoding `json:"encoding,omitempty"`
}

type infoPart struct {
	Number int    `json:"number"`
	Name   string `json:"name,omitempty"`
	Offset int64  `json:"offset"`
	Size   int64  `json:"size"`
}

type infoGeometry struct {
	BlockSize      int    `json:"block_size"`
	ClusterSize    int64  `json:"cluster_size"`
	Blocks         uint64 `json:"blocks"`
	Groups         uint32 `json:"groups"`
	BlocksPerGroup uint32 `json:"blocks_per_group"`
	InodesPerGroup uint32 `json:"inodes_per_group"`
	InodeSize      int    `json:"inode_size"`
	DescSize       int    `json:"descriptor_size"`
	GroupsPerFlex  int    `json:"groups_per_flex_group"`
	Reserved       uint64 `json:"reserved_blocks"`
}

type infoJournal struct {
	Kind          string `json:"kind"` // none, internal, external
	Inode         uint32 `json:"inode,omitempty"`
	UUID          string `json:"uuid,omitempty"`
	Size          int64  `json:"size,omitempty"`
	NeedsRecovery bool   `json:"needs_recovery"`
	Transactions  int    `json:"transactions,omitempty"` // replayed into memory
	FastCommits   int    `json:"fast_commits,omitempty"`
}

type infoHealth struct {
	State  string     `json:"state"` // clean, needs recovery, not clean, errors
	Errors uint32     `json:"errors"`
	First  *infoError `json:"first_error,omitempty"`
	Last   *infoError `json:"last_error,omitempty"`
	Orphan uint32     `json:"first_orphan,omitempty"`
	MMP    string     `json:"mmp,omitempty"`
}

type infoError struct {
	Time     string `json:"time"`
	Function string `json:"function"`
	Line     uint32 `json:"line"`
	Inode    uint32 `json:"inode,omitempty"`
	Block    uint64 `json:"block,omitempty"`
}

type infoTimes struct {
	Made        string `json:"made,omitempty"`
	Mounted     string `json:"mounted,omitempty"`
	Written     string `json:"written,omitempty"`
	Checked     string `json:"checked,omitempty"`
	LastMounted string `json:"last_mounted_on,omitempty"`
	Mounts      uint16 `json:"mounts"`
}

type infoUse struct {
	Device   string `json:"device"`
	Mount    string `json:"mount,omitempty"`
	ReadOnly bool   `json:"read_only"`
}

type infoEncoding struct {
	Name   string `json:"name"`
	Strict bool   `json:"strict"`
}

func runInfo(e *env, args []string) error {
	shown := false
	for _, arg := range args {
		t, err := parseTarget(arg)
		if err != nil {
			return e.usagef("%v", err)
		}
		img, err := e.open(t.image)
		if err != nil {
			e.fail(err)
			continue
		}
		r, err := newInfo(img)
		if err != nil {
			e.fail(at(img.name, "", err))
		} else {
			e.did()
		}
		if e.json {
			err = e.writeJSON(r)
		} else {
			if shown {
				e.writer().WriteByte('\n')
			}
			shown = true
			err = e.printInfo(r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// newInfo collects; with an error it returns what could be found out.
func newInfo(img *image) (*infoRecord, error) {
	s := img.fs.Super()
	r := &infoRecord{
		Image: img.name, Type: fsType(s), Label: disk.CString(s.VolumeName[:]), UUID: disk.UUIDString(s.UUID),
		Features: s.Features.Names(),
		Geometry: infoGeometry{
			BlockSize: s.BlockSize(), ClusterSize: s.ClusterSize(), Blocks: s.Blocks(), Groups: uint32(s.Groups()),
			BlocksPerGroup: s.BlocksPerGroup, InodesPerGroup: s.InodesPerGroup, InodeSize: s.InodeSize(),
			DescSize: s.DescSize(), GroupsPerFlex: 1 << min(s.LogGroupsPerFlex, 31), Reserved: s.Reserved(),
		},
		Journal: newInfoJournal(img.fs, s),
		Times: infoTimes{
			Made: superTime(s.MkfsTime), Mounted: superTime(s.MountTime), Written: superTime(s.WriteTime),
			Checked: superTime(s.LastCheck), LastMounted: disk.CString(s.LastMounted[:]), Mounts: s.MountCount,
		},
	}
	if s.Features.Incompat.Has(disk.IncompatCasefold) {
		r.Encoding = &infoEncoding{Name: encodingName(s.Encoding), Strict: s.EncodingFlags&1 != 0}
	}
	if dev, ok := img.fs.BaseDevice().(*device.Image); ok {
		r.Containers, r.Offset = dev.Containers(), dev.Offset()
		if p, ok := dev.Partition(); ok {
			r.Partition = &infoPart{p.Number, p.Name, p.Offset, p.Size}
		}
		for _, u := range dev.InUse() {
			r.Users = append(r.Users, infoUse{u.Device, u.Mount, u.ReadOnly})
		}
	}
	r.Health = newHealth(img.fs, s, r.Journal.NeedsRecovery)
	space, err := img.fs.Space()
	if err == nil {
		r.Space = newDfRecord(img.name, space)
	}
	return r, err
}

func fsType(s *disk.Superblock) string {
	switch {
	case s.Features.Incompat&^(disk.IncompatFiletype|disk.IncompatRecover|disk.IncompatMetaBG) != 0,
		s.Features.ROCompat&^(disk.ROCompatSparseSuper|disk.ROCompatLargeFile) != 0:
		return "ext4"
	case s.Features.Compat.Has(disk.CompatHasJournal):
		return "ext3"
	}
	return "ext2"
}

func encodingName(n uint16) string {
	if n == 1 {
		return "utf8-12.1.0"
	}
	return fmt.Sprintf("unknown (%d)", n)
}

// superTime is a time of the superblock; 0 is none.
func superTime(seconds uint64) string {
	if seconds == 0 {
		return ""
	}
	return disk.SuperTime(seconds).UTC().Format(time.RFC3339)
}

func newInfoJournal(fsys *ext4fs.FS, s *disk.Superblock) infoJournal {
	j := infoJournal{Kind: "none"}
	if !s.Features.Compat.Has(disk.CompatHasJournal) {
		return j
	}
	j.NeedsRecovery = s.Features.Incompat.Has(disk.IncompatRecover)
	j.Kind, j.Inode = "internal", uint32(s.JournalInode)
	if s.JournalInode == 0 {
		j.Kind, j.UUID = "external", disk.UUIDString(s.JournalUUID)
	} else if i, err := fsys.Inode(s.JournalInode); err == nil {
		j.Size = i.Size()
	}
	if rec := fsys.Recovery(); rec != nil {
		j.NeedsRecovery = j.NeedsRecovery || rec.Needed
		j.Transactions, j.FastCommits = len(rec.Transactions), rec.FastCommitCount
	}
	return j
}

func newHealth(fsys *ext4fs.FS, s *disk.Superblock, recover bool) infoHealth {
	h := infoHealth{State: "clean", Errors: s.ErrorCount, Orphan: uint32(s.LastOrphan)}
	switch {
	case s.State&disk.StateError != 0:
		h.State = "errors"
	case recover:
		h.State = "needs recovery"
	case s.State&disk.StateValid == 0:
		h.State = "not clean"
	}
	if s.ErrorCount > 0 {
		h.First, h.Last = newInfoError(s.FirstError), newInfoError(s.LastError)
	}
	if st, err := fsys.MMP(); err != nil {
		h.MMP = err.Error()
	} else if st.State != ext4fs.MMPNone {
		h.MMP = st.String()
	}
	return h
}

func newInfoError(r disk.ErrorRecord) *infoError {
	return &infoError{Time: superTime(r.Time), Function: disk.CString(r.Func[:]), Line: r.Line, Inode: uint32(r.Inode), Block: uint64(r.Block)}
}

func (e *env) printInfo(r *infoRecord) error {
	w, st := e.writer(), e.styles()
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-12s %s\n", name+":", e.shown(fmt.Sprintf(format, args...)))
	}
	fmt.Fprintf(w, "%s: %s", st.bold.text(e.shown(r.Image)), r.Type)
	if len(r.Containers) > 0 {
		fmt.Fprintf(w, " in %s", strings.Join(r.Containers, " in "))
	}
	if r.Space != nil {
		fmt.Fprintf(w, ", %s", niceSize(int64(r.Geometry.Blocks)*int64(r.Geometry.BlockSize)))
	}
	fmt.Fprintln(w)
	if p := r.Partition; p != nil {
		line("Partition", "%d %q at byte %d, %s", p.Number, p.Name, p.Offset, niceSize(p.Size))
	} else if r.Offset != 0 {
		line("Offset", "%d", r.Offset)
	}
	if r.Label != "" {
		line("Label", "%s", r.Label)
	}
	line("UUID", "%s", r.UUID)
	line("Features", "%s", strings.Join(r.Features, " "))
	if r.Encoding != nil {
		line("Encoding", "%s%s", r.Encoding.Name, map[bool]string{true: ", strict"}[r.Encoding.Strict])
	}
	e.printGeometry(r, line)
	e.printHealth(r, line)
	for _, t := range []struct{ name, when string }{
		{"Made", r.Times.Made}, {"Mounted", r.Times.Mounted}, {"Written", r.Times.Written}, {"Checked", r.Times.Checked},
	} {
		if t.when != "" {
			line(t.name, "%s", t.when)
		}
	}
	return e.endLine()
}

func (e *env) printGeometry(r *infoRecord, line func(name, format string, args ...any)) {
	g := r.Geometry
	line("Geometry", "%d blocks of %d bytes in %s", g.Blocks, g.BlockSize, plural(int(g.Groups), "group", "groups"))
	if g.ClusterSize != int64(g.BlockSize) {
		line("Clusters", "%s", niceSize(g.ClusterSize))
	}
	if s := r.Space; s != nil {
		line("Inodes", "%d of %d bytes, %d free", s.Inodes, g.InodeSize, s.InodesFree)
		line("Space", "%s used, %s free, %s of it for all users", niceSize(int64(s.Used)), niceSize(int64(s.Free)), niceSize(int64(s.Available)))
	}
}

func (e *env) printHealth(r *infoRecord, line func(name, format string, args ...any)) {
	j := r.Journal
	switch {
	case j.Kind == "external":
		line("Journal", "external, %s", j.UUID)
	case j.Kind == "internal" && j.Size > 0:
		line("Journal", "%s in inode %d", niceSize(j.Size), j.Inode)
	default:
		line("Journal", "%s", j.Kind)
	}
	if j.Transactions > 0 || j.FastCommits > 0 {
		line("Recovery", "%s and %s are shown as replayed", plural(j.Transactions, "transaction", "transactions"),
			plural(j.FastCommits, "fast commit", "fast commits"))
	}
	h := r.Health
	st := e.styles()
	color := st.good
	if h.State != "clean" {
		color = st.warn
	}
	if h.State == "errors" || h.Errors > 0 {
		color = st.bad
	}
	fmt.Fprintf(e.writer(), "%-12s %s\n", "Health:", color.text(h.State))
	if h.Errors > 0 {
		line("Errors", "%d noted, the last in %s line %d at %s", h.Errors, h.Last.Function, h.Last.Line, h.Last.Time)
	}
	if h.MMP != "" {
		line("MMP", "%s", h.MMP)
	}
	for _, u := range r.Users {
		line("In use", "%s %s", u.Device, u.Mount)
	}
}
