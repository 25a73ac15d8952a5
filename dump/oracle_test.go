package dump

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
	"github.com/e4kit/e4kit/testimages"
)

// oracleCases are the images that differ in what this package shows.
var oracleCases = []string{
	"ext2-1k", "ext2-rev0", "ext3-256", "ext4-1k", "ext4-4k", "ext4-no64bit", "ext4-desc128", "meta-bg", "no-flex-bg",
	"packed-meta", "sparse-super2", "bigalloc-4k", "bigalloc-1k", "ext4-64k", "no-csum", "gdt-csum", "csum-seed",
	"external-journal", "orphan-file", "fast-commit", "mmp", "inode-128", "inline-data", "ea-inode", "encrypt-1k",
	"casefold-encrypt", "hash-tea-unsigned", "large-dir", "aged", "fragmented", "deep-extents",
	"dirty", "dirty-external", "dirty-fast-commit",
}

// eachCase runs test on an image of every case, opened as it lies there: the
// tools do not replay the journal.
func eachCase(t *testing.T, test func(t *testing.T, path string, im *Image)) {
	for _, name := range oracleCases {
		t.Run(name, func(t *testing.T) {
			path := testimages.Build(t, testimages.Find(t, name))
			test(t, path, openImage(t, path, ext4fs.Options{NoReplay: true}))
		})
	}
}

// labels splits "Label:   value" lines.
func labels(text string) map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(line, ":"); ok {
			if _, twice := m[k]; !twice {
				m[k] = strings.TrimSpace(v)
			}
		}
	}
	return m
}

func TestSuper_agreesWithDumpe2fs(t *testing.T) {
	testimages.RequireTool(t, "dumpe2fs")
	eachCase(t, func(t *testing.T, path string, im *Image) {
		want, v := labels(testimages.Run(t, "dumpe2fs", "-h", path)), im.Super()
		for label, got := range map[string]any{
			"Inode count": v.Inodes, "Block count": v.Blocks, "Reserved block count": v.ReservedBlocks,
			"Overhead clusters": v.OverheadClusters, "Free blocks": v.FreeBlocks, "Free inodes": v.FreeInodes,
			"First block": v.FirstDataBlock, "Block size": v.BlockSize, "Cluster size": v.ClusterSize,
			"Group descriptor size": v.DescSize, "Reserved GDT blocks": v.ReservedGDTBlocks,
			"Blocks per group": v.BlocksPerGroup, "Clusters per group": v.ClustersPerGroup,
			"Inodes per group": v.InodesPerGroup, "Inode blocks per group": v.InodeTableBlocks,
			"Flex block group size": v.FlexGroupSize, "First inode": v.FirstInode, "Inode size": v.InodeSize,
			"Filesystem UUID": v.UUID, "Journal inode": v.JournalInode, "Directory Hash Seed": v.HashSeed,
			"Mount count": v.MountCount, "Maximum mount count": v.MaxMountCount, "Journal UUID": v.JournalUUID,
			"Required extra isize": v.MinExtraIsize, "Desired extra isize": v.WantExtraIsize,
			"User quota inode": v.UserQuotaInode, "MMP block number": v.MMPBlock, "Orphan file inode": v.OrphanFileInode,
		} {
			if w, ok := want[label]; ok && w != fmt.Sprint(got) {
				t.Errorf("%s: %v, dumpe2fs says %s", label, got, w)
			}
		}
		features := slices.Concat(v.Compat.Names, v.Incompat.Names, v.ROCompat.Names)
		if w := strings.Fields(want["Filesystem features"]); !slices.Equal(w, features) && want["Filesystem features"] != "(none)" {
			t.Errorf("features %q, dumpe2fs says %q", features, w)
		}
		if w := want["Checksum"]; w != "" && w != fmt.Sprintf("0x%08x", *v.Checksum.Stored) {
			t.Errorf("checksum %s, dumpe2fs says %s", v.Checksum, w)
		}
		journalAgrees(t, want, im)
	})
}

func journalAgrees(t *testing.T, want map[string]string, im *Image) {
	if want["Journal sequence"] == "" {
		return
	}
	j, err := im.JournalSuper()
	if err != nil {
		t.Fatal(err)
	}
	for label, got := range map[string]string{
		"Journal sequence":     fmt.Sprintf("0x%08x", j.Sequence),
		"Journal start":        fmt.Sprint(j.Start),
		"Total journal blocks": fmt.Sprint(j.MaxLen),
	} {
		// 1.47.0 counts the blocks in front of the fast-commit area.
		if w := want[label]; w != got && (label != "Total journal blocks" || j.NumFastBlocks == 0 && j.FastCommits == nil) {
			t.Errorf("%s %s, dumpe2fs says %s", label, got, w)
		}
	}
}

var (
	groupLine  = regexp.MustCompile(`^Group (\d+): \(Blocks (\d+)-(\d+)\)(?: csum 0x([0-9a-f]+))?(?: \[(.*)\])?`)
	countLine  = regexp.MustCompile(`^  (\d+) free (?:blocks|clusters), (\d+) free inodes, (\d+) directories(?:, (\d+) unused inodes)?`)
	atLine     = regexp.MustCompile(`^  (?:Block bitmap|Inode bitmap|Inode table) at (\d+)(?:-(\d+))?.*?(?:, csum 0x([0-9a-f]+))?$`)
	flagNames  = map[string]string{"INODE_UNINIT": "inode_uninit", "BLOCK_UNINIT": "block_uninit", "ITABLE_ZEROED": "inode_zeroed"}
	superWords = regexp.MustCompile(`(?:Primary|Backup) superblock at (\d+)`)
	descWords  = regexp.MustCompile(`Group descriptors? at (\d+)(?:-(\d+))?`)
	gdtWords   = regexp.MustCompile(`Reserved GDT blocks at (\d+)-(\d+)`)
)

// TestGroups_agreeWithDumpe2fs writes each group in the words of dumpe2fs and
// compares.
func TestGroups_agreeWithDumpe2fs(t *testing.T) {
	testimages.RequireTool(t, "dumpe2fs")
	eachCase(t, func(t *testing.T, path string, im *Image) {
		_, text, ok := strings.Cut(testimages.Run(t, "dumpe2fs", path), "\n\nGroup ")
		if !ok {
			t.Fatal("dumpe2fs shows no groups")
		}
		parts := strings.Split("\nGroup "+text, "\nGroup ")[1:]
		if len(parts) != int(im.super.Groups()) {
			t.Fatalf("%d groups, dumpe2fs says %d", im.super.Groups(), len(parts))
		}
		n := 0
		for g, err := range im.Groups(context.Background(), true) {
			if err != nil {
				t.Fatal(err)
			}
			if len(g.Problems) > 0 {
				t.Errorf("group %d: %q", g.Group, g.Problems)
			}
			groupAgrees(t, im, g, strings.Split("Group "+strings.TrimSpace(parts[n]), "\n"))
			n++
		}
	})
}

func groupAgrees(t *testing.T, im *Image, g *Group, lines []string) {
	equal := func(what string, got, want any) {
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("group %d: %s %v, dumpe2fs says %v", g.Group, what, got, want)
		}
	}
	for _, line := range lines {
		switch {
		case groupLine.MatchString(line):
			m := groupLine.FindStringSubmatch(line)
			equal("number and blocks", fmt.Sprint(g.Group, g.Blocks), m[1]+" "+m[2]+"-"+m[3])
			var flags []string
			for _, f := range strings.Split(m[5], ", ") {
				if flagNames[f] != "" {
					flags = append(flags, flagNames[f])
				}
			}
			if im.super.HasGroupCsum() { // without, dumpe2fs says nothing of them
				equal("flags", g.Flags.Names, append([]string{}, flags...))
			}
			if m[4] != "" {
				equal("checksum", fmt.Sprintf("%04x", *g.Checksum.Stored), m[4])
			}
		case countLine.MatchString(line):
			m := countLine.FindStringSubmatch(line)
			clusters := uint64(g.FreeClusters)
			equal("counts", fmt.Sprint(clusters, g.FreeInodes, g.UsedDirs), strings.Join(m[1:4], " "))
			if m[4] != "" {
				equal("unused inodes", g.ItableUnused, m[4])
			}
		case strings.HasPrefix(line, "  Block bitmap"):
			m := atLine.FindStringSubmatch(line)
			equal("block bitmap", g.BlockBitmap, m[1])
			if m[3] != "" && g.BlockBitmapChecksum.Stored != nil {
				equal("block bitmap checksum", fmt.Sprintf("%08x", *g.BlockBitmapChecksum.Stored), m[3])
			}
		case strings.HasPrefix(line, "  Inode bitmap"):
			m := atLine.FindStringSubmatch(line)
			equal("inode bitmap", g.InodeBitmap, m[1])
			if m[3] != "" && g.InodeBitmapChecksum.Stored != nil {
				equal("inode bitmap checksum", fmt.Sprintf("%08x", *g.InodeBitmapChecksum.Stored), m[3])
			}
		case strings.HasPrefix(line, "  Inode table"):
			m := atLine.FindStringSubmatch(line)
			equal("inode table", g.InodeTable, Range{num(m[1]), num(m[2])})
		case strings.HasPrefix(line, "  Free blocks:"):
			equal("free blocks", clusterStarts(im, g.Bitmaps.FreeBlockRanges), ranges(line))
		case strings.HasPrefix(line, "  Free inodes:"):
			equal("free inodes", g.Bitmaps.FreeInodeRanges, ranges(line))
		}
		if m := superWords.FindStringSubmatch(line); m != nil && g.Superblock != nil {
			equal("superblock", *g.Superblock, m[1])
		}
		if m := descWords.FindStringSubmatch(line); m != nil && g.Descriptors != nil {
			last := m[2]
			if last == "" {
				last = m[1]
			}
			equal("descriptors", *g.Descriptors, Range{num(m[1]), num(last)})
		}
		if m := gdtWords.FindStringSubmatch(line); m != nil && g.ReservedGDT != nil {
			equal("reserved GDT", *g.ReservedGDT, Range{num(m[1]), num(m[2])})
		}
	}
	text := strings.Join(lines, "\n")
	equal("a superblock", g.Superblock != nil, superWords.MatchString(text))
	equal("descriptors", g.Descriptors != nil, descWords.MatchString(text))
	equal("a reserved GDT", g.ReservedGDT != nil, gdtWords.MatchString(text))
}

// clusterStarts ends ranges with the first block of their last cluster, as
// dumpe2fs does.
func clusterStarts(im *Image, list []Range) []Range {
	out := []Range{}
	ratio := uint64(im.super.ClusterRatio())
	for _, r := range list {
		out = append(out, Range{r.First, r.First + (r.Last-r.First)/ratio*ratio})
	}
	return out
}

func num(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

// ranges reads "  Free blocks: 1-2, 5".
func ranges(line string) []Range {
	list := []Range{}
	_, text, _ := strings.Cut(line, ":")
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' }) {
		first, last, ok := strings.Cut(word, "-")
		if !ok {
			last = first
		}
		list = append(list, Range{num(first), num(last)})
	}
	return list
}

// usedInodes are the first inodes in use, a few hundred.
func usedInodes(im *Image, most int) []disk.InodeNum {
	var list []disk.InodeNum
	for i, err := range im.fs.Inodes() {
		if err == nil && len(list) < most {
			list = append(list, i.Number())
		}
	}
	return list
}

// statAll asks debugfs about inodes and returns its words for each.
func statAll(t *testing.T, path string, list []disk.InodeNum) map[disk.InodeNum]string {
	var commands []string
	for _, n := range list {
		commands = append(commands, fmt.Sprintf("stat <%d>", n))
	}
	answers := map[disk.InodeNum]string{}
	for _, part := range strings.Split("\n"+testimages.Debugfs(t, path, commands...), "\nInode: ")[1:] {
		word, _, _ := strings.Cut(part, " ")
		answers[disk.InodeNum(num(word))] = "Inode: " + part
	}
	if len(answers) != len(list) {
		t.Fatalf("debugfs answered for %d of %d inodes", len(answers), len(list))
	}
	return answers
}

var (
	statMode  = regexp.MustCompile(`Mode:  0*(\d+)   Flags: 0x([0-9a-f]+)`)
	statGen   = regexp.MustCompile(`Generation: (\d+)    Version: 0x([0-9a-f]+)(?::([0-9a-f]+))?`)
	statOwner = regexp.MustCompile(`User: *(-?\d+)   Group: *(-?\d+)(?:   Project: *(\d+))?   Size: *(\d+)`)
	statACL   = regexp.MustCompile(`File ACL: (\d+)`)
	statLinks = regexp.MustCompile(`Links: (\d+)   Blockcount: (\d+)`)
	statTime  = regexp.MustCompile(`(?m)^ *(c|a|m|cr)time: 0x([0-9a-f]{8})(?::([0-9a-f]{8}))? `)
	statSum   = regexp.MustCompile(`Inode checksum: 0x([0-9a-f]+)`)
	statMap   = regexp.MustCompile(`(?:EXTENTS|BLOCKS):\n(.*)`)
	mapWord   = regexp.MustCompile(`\((ETB\d+|IND|DIND|TIND|(\d+)(?:-(\d+))?(\[u\])?)\):(\d+)(?:-(\d+))?`)
)

func TestInode_agreesWithDebugfs(t *testing.T) {
	testimages.RequireTool(t, "debugfs")
	eachCase(t, func(t *testing.T, path string, im *Image) {
		list := usedInodes(im, 300)
		answers := statAll(t, path, list)
		for _, n := range list {
			v, err := im.Inode(n)
			if err != nil {
				t.Fatal(err)
			}
			inodeAgrees(t, v, answers[n])
			if n != disk.ResizeInode {
				mapAgrees(t, im, n, answers[n])
			}
		}
	})
}

func inodeAgrees(t *testing.T, v *Inode, text string) {
	equal := func(what string, got, want string) {
		if got != want {
			t.Errorf("inode %d: %s %s, debugfs says %s", v.Inode, what, got, want)
		}
	}
	m := statMode.FindStringSubmatch(text)
	equal("mode and flags", fmt.Sprintf("%o %x", v.Mode&0o7777, v.Flags.Raw), m[1]+" "+m[2])
	m = statGen.FindStringSubmatch(text)
	version := fmt.Sprintf("%08x", v.Version)
	if m[3] != "" {
		version = fmt.Sprintf("%08x:%08x", v.Version>>32, uint32(v.Version))
		m[2] += ":" + m[3]
	}
	equal("generation and version", fmt.Sprint(v.Generation, " ", version), m[1]+" "+m[2])
	m = statOwner.FindStringSubmatch(text)
	equal("owner and size", fmt.Sprint(int32(v.UID), " ", int32(v.GID), " ", v.Size), m[1]+" "+m[2]+" "+m[4])
	if m[3] != "" && v.Project != nil {
		equal("project", fmt.Sprint(*v.Project), m[3])
	}
	equal("attribute block", fmt.Sprint(v.FileACL), statACL.FindStringSubmatch(text)[1])
	m = statLinks.FindStringSubmatch(text)
	// debugfs counts in sectors whatever the flag says.
	equal("links and blocks", fmt.Sprint(v.Links, " ", v.Blocks), m[1]+" "+m[2])
	for _, m := range statTime.FindAllStringSubmatch(text, -1) {
		x := map[string]*InodeTime{"c": &v.Ctime, "a": &v.Atime, "m": &v.Mtime, "cr": v.Crtime}[m[1]]
		if x == nil {
			t.Errorf("inode %d: no %stime, debugfs says 0x%s", v.Inode, m[1], m[2])
			continue
		}
		got := fmt.Sprintf("%08x", x.Raw)
		if x.Extra != nil {
			got += fmt.Sprintf(":%08x", *x.Extra)
		}
		want := m[2]
		if m[3] != "" {
			want += ":" + m[3]
		}
		equal(m[1]+"time", got, want)
	}
	if m := statSum.FindStringSubmatch(text); m != nil && v.Checksum.Stored != nil {
		equal("checksum", fmt.Sprintf("%08x", *v.Checksum.Stored), m[1])
		if v.Checksum.State != ChecksumGood {
			t.Errorf("inode %d: checksum %s", v.Inode, v.Checksum)
		}
	}
}

// mapAgrees compares runs and map blocks with those that debugfs lists.
func mapAgrees(t *testing.T, im *Image, n disk.InodeNum, text string) {
	var want, got []extent.Extent
	var wantNodes, gotNodes []uint64
	if m := statMap.FindStringSubmatch(text); m != nil {
		for _, w := range mapWord.FindAllStringSubmatch(m[1], -1) {
			if w[2] == "" {
				wantNodes = append(wantNodes, num(w[5]))
				continue
			}
			e := extent.Extent{Logical: disk.LogicalNum(num(w[2])), Physical: disk.BlockNum(num(w[5])), Len: 1}
			if w[3] != "" {
				e.Len = uint32(num(w[3])-num(w[2])) + 1
			}
			if w[4] != "" {
				e.Flags = extent.FlagUnwritten
			}
			want = appendJoined(want, e)
		}
	}
	for e, err := range im.Extents(n, false) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Flags&extent.FlagInline == 0 {
			got = appendJoined(got, e)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("inode %d: runs %v, debugfs says %v", n, got, want)
	}
	for node, err := range im.Tree(n) {
		if err != nil {
			t.Fatal(err)
		}
		gotNodes = append(gotNodes, node.Block)
		if node.Checksum.State == ChecksumBad {
			t.Errorf("inode %d: block %d: checksum %s", n, node.Block, node.Checksum)
		}
	}
	slices.Sort(gotNodes)
	slices.Sort(wantNodes)
	if !slices.Equal(gotNodes, wantNodes) {
		t.Errorf("inode %d: map blocks %v, debugfs says %v", n, gotNodes, wantNodes)
	}
}

// appendJoined joins runs that go on where the one before ended.
func appendJoined(list []extent.Extent, e extent.Extent) []extent.Extent {
	if k := len(list) - 1; k >= 0 && list[k].End() == uint64(e.Logical) && list[k].Flags == e.Flags &&
		list[k].Physical+disk.BlockNum(list[k].Len) == e.Physical {
		list[k].Len += e.Len
		return list
	}
	return append(list, e)
}

// TestScan_agreesWithExtents compares the fast walk over the inode tables with
// the maps one by one.
func TestScan_agreesWithExtents(t *testing.T) {
	eachCase(t, func(t *testing.T, path string, im *Image) {
		found := map[disk.InodeNum][]extent.Extent{}
		visit := func(t *map[disk.InodeNum][]extent.Extent, f *File) {
			if *t == nil {
				*t = map[disk.InodeNum][]extent.Extent{}
			}
			if f.Err != nil {
				panic(f.Err)
			}
			(*t)[f.Inode] = slices.Clone(f.Extents)
		}
		for m, err := range Scan(context.Background(), im, ScanOptions{Verify: true}, visit) {
			if err != nil {
				t.Fatal(err)
			}
			for n, e := range *m {
				found[n] = e
			}
		}
		for i, err := range im.fs.Inodes() {
			if err != nil {
				t.Fatal(err)
			}
			if i.Number() == disk.ResizeInode {
				continue
			}
			runs, ok := found[i.Number()]
			if !ok {
				t.Errorf("inode %d was left out", i.Number())
			}
			var want []extent.Extent
			for e, err := range im.Extents(i.Number(), false) {
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, e)
			}
			if !slices.Equal(runs, want) {
				t.Errorf("inode %d: runs %v, one by one %v", i.Number(), runs, want)
			}
		}
	})
}

func TestFreeSpace_agreesWithE2freefrag(t *testing.T) {
	testimages.RequireTool(t, "e2freefrag")
	row := regexp.MustCompile(`(?m)^ *\d+[KMG]?\.\.\. +\d+[KMGT]?- +: +(\d+) +(\d+)`)
	eachCase(t, func(t *testing.T, path string, im *Image) {
		v, err := im.FreeSpace(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		out := testimages.Run(t, "e2freefrag", path)
		want := labels(out)
		if w := strings.Fields(want["Free blocks"])[0]; w != fmt.Sprint(v.SuperFree) {
			t.Errorf("%d free blocks, e2freefrag says %s", v.SuperFree, w)
		}
		// It counts clusters as blocks in what follows.
		if im.super.ClusterRatio() != 1 || v.Chunks == 0 {
			return
		}
		if w := want["Num. free extent"]; w != fmt.Sprint(v.Chunks) {
			t.Errorf("%d runs, e2freefrag says %s", v.Chunks, w)
		}
		kb := func(blocks uint64) string { return fmt.Sprintf("%d KB", blocks*uint64(v.BlockSize)/1024) }
		if want["Min. free extent"] != kb(v.MinBlocks) || want["Max. free extent"] != kb(v.MaxBlocks) {
			t.Errorf("runs of %s to %s, e2freefrag says %s to %s", kb(v.MinBlocks), kb(v.MaxBlocks),
				want["Min. free extent"], want["Max. free extent"])
		}
		var got, rows []string
		for _, c := range v.Histogram {
			got = append(got, fmt.Sprint(c.Chunks, " ", c.Blocks))
		}
		for _, m := range row.FindAllStringSubmatch(out, -1) {
			rows = append(rows, m[1]+" "+m[2])
		}
		if !slices.Equal(got, rows) {
			t.Errorf("classes %v, e2freefrag says %v", got, rows)
		}
	})
}

// TestBlock_ownersAgreeWithDebugfs asks for the owners of blocks all over the
// image.
func TestBlock_ownersAgreeWithDebugfs(t *testing.T) {
	testimages.RequireTool(t, "debugfs")
	for _, name := range []string{"ext2-1k", "ext4-4k", "fragmented", "ea-inode"} {
		t.Run(name, func(t *testing.T) {
			path := testimages.Build(t, testimages.Find(t, name))
			im := openImage(t, path, ext4fs.Options{})
			command := "icheck"
			for n := uint64(1); n < im.super.Blocks(); n += im.super.Blocks() / 60 {
				command += fmt.Sprint(" ", n)
			}
			for line := range strings.Lines(testimages.Debugfs(t, path, command)) {
				f := strings.Split(strings.TrimSpace(line), "\t")
				if len(f) != 2 || f[0] == "Block" {
					continue
				}
				v, err := im.Block(disk.BlockNum(num(f[0])))
				if err == nil {
					err = im.FindOwners(context.Background(), v)
				}
				if err != nil {
					t.Fatal(err)
				}
				if f[1] == "7" { // the reserved descriptors are not shown as a file
					continue
				}
				found := f[1] == "<block not found>" && len(v.Owner) == 0
				for _, o := range v.Owner {
					found = found || fmt.Sprint(o.Inode) == f[1]
				}
				if !found {
					t.Errorf("block %s: owners %v, debugfs says %s", f[0], v.Owner, f[1])
				}
			}
		})
	}
}

var htreeEntry = regexp.MustCompile(`Entry #\d+: Hash 0x([0-9a-f]{8}), block (\d+)`)

// TestHtree_agreesWithDebugfs compares the entries of all index blocks.
func TestHtree_agreesWithDebugfs(t *testing.T) {
	testimages.RequireTool(t, "debugfs")
	for _, name := range []string{"hash-tea-unsigned", "hash-legacy-signed", "large-dir", "ext4-64k", "index-nocsum"} {
		t.Run(name, func(t *testing.T) {
			path := testimages.Build(t, testimages.Find(t, name))
			im := openImage(t, path, ext4fs.Options{})
			trees := 0
			for i, err := range im.fs.Inodes() {
				if err != nil || !i.IsDir() || !i.Flags().Has(disk.FlagIndex) || trees == 3 {
					continue
				}
				trees++
				var want, got []string
				for _, m := range htreeEntry.FindAllStringSubmatch(testimages.Debugfs(t, path, fmt.Sprintf("htree_dump <%d>", i.Number())), -1) {
					want = append(want, m[1]+" "+m[2])
				}
				for b, err := range im.Htree(i.Number()) {
					if err != nil {
						t.Fatal(err)
					}
					for _, e := range b.Entries {
						got = append(got, fmt.Sprintf("%08x %d", e.Hash, e.Logical))
					}
				}
				// debugfs shows an entry in its block and once more before the child.
				slices.Sort(want)
				slices.Sort(got)
				want, got = slices.Compact(want), slices.Compact(got)
				if !slices.Equal(got, want) {
					t.Errorf("inode %d: %d entries, debugfs has %d", i.Number(), len(got), len(want))
				}
			}
			if trees == 0 {
				t.Error("no indexed directory")
			}
		})
	}
}
