package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/format"
)

// made is what mkfs makes, also in JSON.
type made struct {
	Image      string       `json:"image"`
	DryRun     bool         `json:"dry_run,omitempty"`
	Type       string       `json:"type"` // ext2, ext3, ext4, journal
	Size       int64        `json:"size"` // of the file system, in bytes
	Label      string       `json:"label"`
	UUID       string       `json:"uuid,omitempty"`
	Features   []string     `json:"features"`
	Geometry   infoGeometry `json:"geometry"`
	Inodes     uint32       `json:"inodes"`
	Journal    int64        `json:"journal_size"` // bytes; 0: none inside
	Backups    []uint64     `json:"superblock_backups"`
	Files      uint64       `json:"files"` // with content
	Bytes      int64        `json:"bytes"` // of their data, without holes
	Dirs       uint64       `json:"directories"`
	FreeBlocks uint64       `json:"free_blocks"`
	FreeInodes uint64       `json:"free_inodes"`
	Format     string       `json:"format"`
	Partition  string       `json:"partition,omitempty"`
	Offset     int64        `json:"offset"`
	Profile    string       `json:"profile,omitempty"`
}

func newMade(t *mkfsTarget, o *mkfsOptions, job maker) *made {
	s := job.Super()
	m := &made{
		Image: t.name, DryRun: o.dry, Type: fsType(&s), Size: job.Size(),
		Label: disk.CString(s.VolumeName[:]), UUID: disk.UUIDString(s.UUID), Features: s.Features.Names(),
		Geometry: infoGeometry{
			BlockSize: s.BlockSize(), ClusterSize: s.ClusterSize(), Blocks: s.Blocks(), Groups: uint32(s.Groups()),
			BlocksPerGroup: s.BlocksPerGroup, InodesPerGroup: s.InodesPerGroup, InodeSize: s.InodeSize(),
			DescSize: s.DescSize(), GroupsPerFlex: 1 << min(s.LogGroupsPerFlex, 31), Reserved: s.Reserved(),
		},
		Inodes: s.InodesCount, Backups: superBackups(&s), Format: o.output, Partition: o.partition, Offset: t.offset,
	}
	if f, ok := job.(fsMaker); ok {
		n := f.Counts()
		m.Journal, m.Files, m.Bytes, m.Dirs = f.JournalSize(), n.Files, n.Bytes, n.Directories
		m.FreeBlocks, m.FreeInodes = n.FreeBlocks, n.FreeInodes
	} else {
		m.Type, m.Backups = "journal", []uint64{}
	}
	if o.dry && o.reproducible && o.format.UUID == nil {
		m.UUID = "" // it follows from the content, which nobody reads now
	}
	if o.profile != nil {
		m.Profile = o.profile.Name
	}
	return m
}

// superBackups are the blocks that hold copies of the superblock.
func superBackups(s *disk.Superblock) []uint64 {
	list := []uint64{}
	for g := disk.GroupNum(1); g < s.Groups(); g++ {
		if s.HasSuper(g) {
			list = append(list, uint64(s.GroupFirstBlock(g)))
		}
	}
	return list
}

// mkfsReport tells what is made.
func (e *env) mkfsReport(m *made, o *mkfsOptions) error {
	switch {
	case o.quiet:
		return nil
	case e.json:
		return e.writeJSON(m)
	}
	w := e.writer()
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-12s %s\n", name+":", e.shown(fmt.Sprintf(format, args...)))
	}
	g := m.Geometry
	fmt.Fprintf(w, "%s: %s, %s\n", e.styles().bold.text(e.shown(m.Image)), m.Type, niceSize(m.Size))
	if m.Label != "" {
		line("Label", "%s", m.Label)
	}
	if m.UUID != "" {
		line("UUID", "%s", m.UUID)
	}
	if m.Type == "journal" {
		line("Blocks", "%d of %d bytes", g.Blocks, g.BlockSize)
		return e.endLine()
	}
	line("Blocks", "%d of %d bytes in %s, %d reserved", g.Blocks, g.BlockSize, plural(int(g.Groups), "group", "groups"), g.Reserved)
	if g.ClusterSize != int64(g.BlockSize) {
		line("Clusters", "%s", niceSize(g.ClusterSize))
	}
	line("Inodes", "%d of %d bytes", m.Inodes, g.InodeSize)
	switch {
	case m.Journal > 0:
		line("Journal", "%s", niceSize(m.Journal))
	case slices.Contains(m.Features, "has_journal"):
		line("Journal", "external")
	default:
		line("Journal", "none")
	}
	if len(m.Backups) > 0 {
		line("Backups", "%s", blockList(m.Backups, o.verbose))
	}
	if o.verbose {
		line("Features", "%s", strings.Join(m.Features, " "))
		line("Groups", "%d blocks and %d inodes in each, tables of %d together", g.BlocksPerGroup, g.InodesPerGroup, g.GroupsPerFlex)
	}
	if m.Files > 0 {
		line("Content", "%s, %s", counted(int64(m.Files), "file"), niceSize(m.Bytes))
	}
	if m.Partition != "" {
		line("Partition", "%s, at byte %d", m.Partition, m.Offset)
	}
	if m.DryRun {
		line("Dry run", "nothing was written")
	}
	return e.endLine()
}

// blockList shows block numbers, the first ones if there are many.
func blockList(list []uint64, all bool) string {
	const some = 10
	var parts []string
	for n, b := range list {
		if n == some && !all && len(list) > some+1 {
			parts = append(parts, fmt.Sprintf("and %d more", len(list)-some))
			break
		}
		parts = append(parts, utoa(b))
	}
	return strings.Join(parts, ", ")
}

// profileRecord is a profile in JSON.
type profileRecord struct {
	Name         string   `json:"name"`
	Reader       string   `json:"reader"`
	Writes       bool     `json:"writes"`
	Type         string   `json:"type"`
	Lacks        []string `json:"does_not_understand"`
	Changes      string   `json:"changes"` // as -O takes them
	MaxBlockSize int      `json:"max_block_size"`
	InodeSize    int      `json:"inode_size,omitempty"`
	Note         string   `json:"note,omitempty"`
	Source       string   `json:"source"`
}

// listProfiles prints the table of readers.
func (e *env) listProfiles() error {
	for n, p := range format.Profiles() {
		if e.json {
			r := profileRecord{
				Name: p.Name, Reader: p.Reader, Writes: p.Writes, Type: p.Type, Lacks: p.Lacks(), Changes: p.Words(),
				MaxBlockSize: p.MaxBlockSize, InodeSize: p.InodeSize, Note: p.Note, Source: p.Source,
			}
			if err := e.writeJSON(r); err != nil {
				return err
			}
			continue
		}
		w := e.writer()
		if n > 0 {
			w.WriteByte('\n')
		}
		fmt.Fprintf(w, "%s: %s\n", e.styles().bold.text(p.Name), p.Reader)
		for _, l := range []struct{ name, text string }{
			{"makes", strings.TrimSuffix(p.Type+" with -O "+p.Words(), " with -O ")},
			{"lacks", strings.Join(p.Lacks(), " ")},
			{"note", p.Note},
			{"source", p.Source},
		} {
			if l.text != "" {
				fmt.Fprintf(w, "  %-7s %s\n", l.name, l.text)
			}
		}
	}
	return e.endLine()
}
