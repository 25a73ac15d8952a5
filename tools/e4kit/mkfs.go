package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/format"
)

const mkfsHelp = `Makes an ext2, ext3 or ext4 file system in IMAGE, a file or a block device, empty
or with the content of the --from sources, later ones over earlier ones. Options
and defaults are those of mke2fs 1.47 for a disk of that size.

SIZE is a number with a unit, K M G T, or s for sectors of 512 bytes; without a
unit it is KiB, or blocks with -b. "auto" is just enough for the content and for
--free, "min" the smallest that holds the content. Without SIZE it is the size of
IMAGE; that of a new file is auto if there are sources.

A source is a directory, a tar archive (compressed or not; - is standard input),
oci:LAYOUT[:TAG], an OCI image layout, or docker-archive:TAR[:TAG], what docker
save writes. Owners, permissions, times, extended attributes, ACLs, hard links,
holes and device nodes are kept. --exclude and --include take globs: * ? [] and **
for any number of directories; with a slash at the front they begin at the root,
with one at the end they match directories only.

A new IMAGE gets its name when it is complete: what is interrupted leaves nothing.
A file or device that exists is written in place. If it holds anything, a file
system or whatever is not zeros at its start and end, --force is needed; if it is
mounted or in use otherwise it is refused in any case.

With --reproducible, or SOURCE_DATE_EPOCH in the environment, the same content
gives the same bytes: the UUID and the hash seed follow from the content, later
times become that time, holes are where the content has long runs of zeros.

Examples:
  e4kit mkfs disk.img 1G
  e4kit mkfs -t ext3 -L boot -m 0 boot.img 64M
  e4kit mkfs --from rootfs rootfs.img
  e4kit mkfs --from base.tar.zst --from overlay --free 20% rootfs.img auto
  e4kit mkfs --from oci:alpine:3.22 --reproducible alpine.img min
  e4kit mkfs --from tree --owner 0:0 --devtable devs.txt --profile u-boot sd.img 512M
  e4kit mkfs --from rootfs --partition gpt disk.img.zst 2G
  e4kit mkfs -n -O bigalloc,quota big.img 4T
  e4kit mkfs --profile list`

// mkfsOptions are what the command line asks for.
type mkfsOptions struct {
	format       format.Options
	profile      *format.Profile
	size         string // as it was given
	from         []string
	rules        mkfsRules
	output       string      // raw, android, gz, zst
	partition    string      // "", gpt, mbr
	kind         device.GUID // of a GPT's partition; zero is any Linux file system
	offset       int64
	force        bool
	quiet        bool
	verbose      bool
	dry          bool
	reproducible bool
	epoch        *time.Time
}

func mkfsCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:        "mkfs",
		Usage:       "make a file system, empty or from directories, tars and container images",
		ArgsUsage:   "IMAGE [SIZE]",
		Category:    categoryMake,
		Description: mkfsHelp,
		Flags:       append(mkfsGeometryFlags(), mkfsContentFlags()...),
		Action: func(c *cli.Context) error {
			if c.String("profile") == "list" {
				return e.listProfiles()
			}
			if err := wantArgs(c, e, 1, 2); err != nil {
				return err
			}
			o, err := e.mkfsFlags(c)
			if err != nil {
				return err
			}
			return e.mkfs(c.Args().First(), o)
		},
	}
}

// mkfsGeometryFlags are those that mke2fs has.
func mkfsGeometryFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "type", Aliases: []string{"t"}, Usage: "make an `ext2|ext3|ext4` (default ext4)"},
		&cli.StringSliceFlag{Name: "usage-type", Aliases: []string{"T"}, Usage: "geometry for `USE`: small, floppy, big, huge, news, largefile, largefile4"},
		&cli.StringFlag{Name: "block-size", Aliases: []string{"b"}, Usage: "blocks of `N` bytes, 1024 to 65536; -N: at least N"},
		&cli.StringFlag{Name: "cluster-size", Aliases: []string{"C"}, Usage: "clusters of `N` bytes, with -O bigalloc"},
		&cli.StringFlag{Name: "inode-ratio", Aliases: []string{"i"}, Usage: "an inode for every `N` bytes"},
		&cli.StringFlag{Name: "inode-size", Aliases: []string{"I"}, Usage: "inodes of `N` bytes"},
		&cli.StringFlag{Name: "inodes", Aliases: []string{"N"}, Usage: "make `N` inodes"},
		&cli.StringFlag{Name: "reserved", Aliases: []string{"m"}, Usage: "keep `PERCENT` of the blocks for root (default 5)"},
		&cli.StringFlag{Name: "label", Aliases: []string{"L"}, Usage: "name the file system `LABEL`"},
		&cli.StringFlag{Name: "uuid", Aliases: []string{"U"}, Usage: "`UUID`, or random, clear, time"},
		&cli.StringSliceFlag{Name: "features", Aliases: []string{"O"}, Usage: "switch `LIST` of features on, off with ^"},
		&cli.StringSliceFlag{Name: "extended", Aliases: []string{"E"}, Usage: "extended options `LIST`: stride=, stripe_width=, resize=, root_owner=, ..."},
		&cli.StringSliceFlag{Name: "journal", Aliases: []string{"J"}, Usage: "journal options `LIST`: size=, location=, fast_commit_size=, device="},
		&cli.BoolFlag{Name: "j", Usage: "with a journal, also an ext2"},
		&cli.StringFlag{Name: "blocks-per-group", Aliases: []string{"g"}, Usage: "`N` blocks, or clusters, in a group"},
		&cli.StringFlag{Name: "flex-groups", Aliases: []string{"G"}, Usage: "tables of `N` groups together, a power of two"},
		&cli.StringFlag{Name: "errors", Aliases: []string{"e"}, Usage: "on errors the kernel does `continue|remount-ro|panic`"},
		&cli.StringFlag{Name: "last-mounted", Aliases: []string{"M"}, Usage: "say that it was mounted on `DIRECTORY`"},
		&cli.StringFlag{Name: "creator-os", Aliases: []string{"o"}, Usage: "say that `OS` made it"},
		&cli.BoolFlag{Name: "no-discard", Aliases: []string{"K"}, Usage: "do not discard the device first"},
		&cli.BoolFlag{Name: "force", Aliases: []string{"F"}, Usage: "write over what IMAGE holds"},
		&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "write nothing, tell what would be made"},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "say nothing but errors"},
		&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "tell more of what is made"},
	}
}

// mkfsContentFlags are those of content and of the form of the result.
func mkfsContentFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "from", Aliases: []string{"d"}, Usage: "put in `SOURCE`: DIR, TAR, -, oci:LAYOUT[:TAG], docker-archive:TAR[:TAG]"},
		&cli.StringFlag{Name: "free", Usage: "SIZE auto leaves `10%|100M` free"},
		&cli.StringFlag{Name: "profile", Usage: "only what reader `NAME` understands; list shows all"},
		&cli.BoolFlag{Name: "reproducible", Usage: "the same content gives the same bytes"},
		&cli.StringSliceFlag{Name: "include", Usage: "put in only what matches `GLOB`"},
		&cli.StringSliceFlag{Name: "exclude", Usage: "leave out what matches `GLOB`"},
		&cli.StringFlag{Name: "owner", Usage: "everything belongs to `UID:GID`"},
		&cli.StringSliceFlag{Name: "uid-map", Usage: "translate users, `FROM:TO:COUNT`"},
		&cli.StringSliceFlag{Name: "gid-map", Usage: "translate groups, `FROM:TO:COUNT`"},
		&cli.StringFlag{Name: "chmod", Usage: "change permissions by `MODE`, as chmod has it"},
		&cli.StringSliceFlag{Name: "devtable", Usage: "make and change files by the table in `FILE`, as makedevs does"},
		&cli.StringFlag{Name: "selinux", Usage: "label files by the file_contexts in `FILE`"},
		&cli.BoolFlag{Name: "no-xattrs", Usage: "leave out extended attributes and ACLs"},
		&cli.BoolFlag{Name: "keep-directory-symlink", Usage: "a directory over a symbolic link to one goes behind the link"},
		&cli.BoolFlag{Name: "one-file-system", Aliases: []string{"x"}, Usage: "leave out what is mounted below a DIR"},
		&cli.StringFlag{Name: "platform", Usage: "of several images in a layout take that for `OS/ARCH`"},
		&cli.StringFlag{Name: "format", Usage: "write `raw|android|gz|zst` (default: by the ending .simg, .gz, .zst)"},
		&cli.StringFlag{Name: "partition", Usage: "around it a disk with a `gpt|mbr` table"},
		&cli.StringFlag{Name: "partition-type", Usage: "of a gpt: `linux|root-ARCH|GUID` (default linux)"},
		&cli.StringFlag{Name: "offset", Usage: "the file system starts at byte `N` of IMAGE"},
	}
}

// mkfsFlags reads the command line.
func (e *env) mkfsFlags(c *cli.Context) (*mkfsOptions, error) {
	o := &mkfsOptions{
		size: c.Args().Get(1), from: c.StringSlice("from"), partition: c.String("partition"),
		force: c.Bool("force"), dry: c.Bool("dry-run"), quiet: c.Bool("quiet"), verbose: c.Bool("verbose"),
	}
	for _, read := range []func(*cli.Context, *mkfsOptions) error{
		e.mkfsProfile, e.mkfsNumbers, e.mkfsNames, e.mkfsLists, e.mkfsTimes, e.mkfsOutput, e.mkfsSize, e.mkfsRuleFlags,
	} {
		if err := read(c, o); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// mkfsProfile reads the profile first: what else is asked for comes over it.
func (e *env) mkfsProfile(c *cli.Context, o *mkfsOptions) error {
	f := &o.format
	f.Type = c.String("type")
	switch f.Type {
	case "", "ext2", "ext3", "ext4":
	default:
		return e.usagef("-t %s: want ext2, ext3 or ext4", f.Type)
	}
	f.Usage = splitLists(c.StringSlice("usage-type"))
	name := c.String("profile")
	if name == "" {
		return nil
	}
	p, err := format.FindProfile(name)
	if err != nil {
		return e.usagef("--profile: %v", err)
	}
	o.profile = p
	if f.Type == "" {
		f.Type = p.Type
	}
	f.InodeSize = p.InodeSize
	if words := p.Words(); words != "" {
		if err := f.ParseFeatures(words); err != nil {
			return fmt.Errorf("profile %s: %w", p.Name, err)
		}
	}
	return nil
}

// mkfsNumbers reads the numbers of the geometry.
func (e *env) mkfsNumbers(c *cli.Context, o *mkfsOptions) error {
	f := &o.format
	blockSize := c.String("block-size")
	if least, ok := strings.CutPrefix(blockSize, "-"); ok {
		n, err := mkfsNumber(least, 65536)
		if err != nil {
			return e.usagef("-b %s: %v", quoted(blockSize), err)
		}
		f.MinBlockSize = int(n)
		blockSize = ""
	}
	for _, num := range []struct {
		letter, flag string
		text         string
		high         int64
		set          func(n int64)
	}{
		{"b", "block-size", blockSize, 65536, func(n int64) { f.BlockSize = int(n) }},
		{"C", "cluster-size", c.String("cluster-size"), math.MaxInt64, func(n int64) { f.ClusterSize = n }},
		{"i", "inode-ratio", c.String("inode-ratio"), math.MaxInt64, func(n int64) { f.InodeRatio = n }},
		{"I", "inode-size", c.String("inode-size"), 65536, func(n int64) { f.InodeSize = int(n) }},
		{"N", "inodes", c.String("inodes"), math.MaxUint32, func(n int64) { f.Inodes = uint64(n) }},
		{"g", "blocks-per-group", c.String("blocks-per-group"), math.MaxUint32, func(n int64) { f.BlocksPerGroup = uint32(n) }},
		{"G", "flex-groups", c.String("flex-groups"), 1 << 31, func(n int64) { f.FlexSize = uint32(n) }},
	} {
		if num.text == "" && !c.IsSet(num.flag) || num.flag == "block-size" && f.MinBlockSize > 0 {
			continue
		}
		n, err := mkfsNumber(num.text, num.high)
		if err != nil {
			return e.usagef("-%s %s: %v", num.letter, quoted(num.text), err)
		}
		num.set(n)
	}
	if text := c.String("reserved"); c.IsSet("reserved") {
		percent, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
		if err != nil || !(percent >= 0 && percent <= 50) {
			return e.usagef("-m %s: want a percentage from 0 to 50", text)
		}
		f.ReservedPercent = &percent
	}
	return nil
}

// mkfsNumber reads a positive number, with a unit of bytes if there is one.
func mkfsNumber(text string, high int64) (int64, error) {
	n, err := parseSize(text)
	if err != nil {
		return 0, fmt.Errorf("want a number")
	}
	if n < 1 || n > high {
		return 0, fmt.Errorf("want a number from 1 to %d", high)
	}
	return n, nil
}

// mkfsNames reads what is words.
func (e *env) mkfsNames(c *cli.Context, o *mkfsOptions) error {
	f := &o.format
	f.Label, f.LastMounted, f.CreatorOS = c.String("label"), c.String("last-mounted"), c.String("creator-os")
	if len(f.Label) > maxLabel {
		return e.usagef("-L %s: a label has at most %d bytes", f.Label, maxLabel)
	}
	switch f.Errors = c.String("errors"); f.Errors {
	case "", "continue", "remount-ro", "panic":
	default:
		return e.usagef("-e %s: want continue, remount-ro or panic", f.Errors)
	}
	if c.IsSet("uuid") {
		u, err := e.newUUID(c.String("uuid"))
		if err != nil {
			return err
		}
		// A random one is format's business: it may be derived from content.
		if c.String("uuid") != "random" {
			f.UUID = &u
		}
	}
	return nil
}

// mkfsLists reads -O, -E and -J, whose words the library knows.
func (e *env) mkfsLists(c *cli.Context, o *mkfsOptions) error {
	f := &o.format
	if c.IsSet("features") {
		if err := f.ParseFeatures(strings.Join(c.StringSlice("features"), ",")); err != nil {
			return e.usagef("-O: %v", err)
		}
	}
	if c.IsSet("extended") {
		if err := f.ParseExtended(strings.Join(c.StringSlice("extended"), ",")); err != nil {
			return e.usagef("%v", err)
		}
	}
	if c.IsSet("journal") {
		if err := f.ParseJournal(strings.Join(c.StringSlice("journal"), ",")); err != nil {
			return e.usagef("%v", err)
		}
	}
	if c.Bool("j") {
		f.Journal.Want = true
	}
	if c.Bool("no-discard") {
		f.NoDiscard = true
	}
	return nil
}

// splitLists takes lists with commas apart.
func splitLists(lists []string) []string {
	var words []string
	for _, list := range lists {
		words = append(words, strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })...)
	}
	return words
}

// mkfsTimes reads the clock: SOURCE_DATE_EPOCH makes the image reproducible.
func (e *env) mkfsTimes(c *cli.Context, o *mkfsOptions) error {
	o.reproducible = c.Bool("reproducible")
	text := e.getenv("SOURCE_DATE_EPOCH")
	if text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 || n > maxEpoch {
			return e.usagef("SOURCE_DATE_EPOCH=%s: want seconds since 1970", text)
		}
		t := time.Unix(n, 0)
		o.epoch, o.reproducible = &t, true
	}
	o.format.Reproducible = o.reproducible
	switch {
	case o.epoch != nil:
		o.format.Time = *o.epoch
	case !o.reproducible:
		o.format.Time = e.now()
	}
	return nil
}

// maxEpoch is the last second that inodes have a place for, in 2446.
const maxEpoch = 1<<34 - 1<<31 - 1

// maxLabel is the room for the label in the superblock, in bytes.
const maxLabel = 16
