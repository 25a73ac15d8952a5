package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs/extract"
)

// cpOptions are the flags of cp.
type cpOptions struct {
	recursive, archive           bool
	follow, followArgs, noFollow bool
	noTargetDir                  bool
	targetDir                    string
	verbose                      bool
	update                       bool
	owner, chmod                 string
	engine                       extract.Options
}

func cpCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "cp",
		Usage:     "copy files and trees out of images and into them",
		ArgsUsage: "SOURCE... DEST",
		Category:  categoryTake,
		Description: `Copies by the rules of cp(1): into DEST if it is a directory, else as DEST; a
PATH that ends in "/." means what is in it, and so does the root. IMAGE:/PATH is in
an image, anything else on the host. Out of images, "-" as DEST is standard output;
into them, "-" as SOURCE is standard input. Holes are kept. -a keeps hard links,
permissions and times to the nanosecond as well, and for root owners, device
nodes, extended attributes and ACLs; into an image all of them in any case.

Unlike cp(1), existing files are replaced when the new one is whole, never
written through, also where a symbolic link stands in the way below DEST. So an
interrupted copy, or one that ran out of space, leaves every file whole, or as it
was. Device nodes are made with -a only. No name in an image leads outside DEST.

What goes into an image belongs to 0:0 there, unless -a, -p, --preserve or --owner
say otherwise; a file that replaces one takes over its owner and permissions.

Examples:
  e4kit cp disk.img:/etc/fstab .
  e4kit cp -a disk.img:/ rootfs
  e4kit cp -r disk.img:/etc/. 'disk.img:/usr/share/doc/*' docs/
  e4kit cp disk.img:/boot/vmlinuz - | file -
  e4kit cp -a rootfs/. disk.img:/
  e4kit cp --owner 1000:1000 --chmod go-rwx id_ed25519 disk.img:/home/ada/.ssh/
  uname -a | e4kit cp - disk.img:/etc/motd
  e4kit cp -a old.img:/home new.img:/`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "recursive", Aliases: []string{"r", "R"}, Usage: "directories with all that is in them"},
			&cli.BoolFlag{Name: "archive", Aliases: []string{"a"}, Usage: "as -r --preserve=all, with device nodes"},
			&cli.BoolFlag{Name: "p", Usage: "as --preserve=mode,ownership,timestamps"},
			&cli.StringFlag{Name: "preserve", Usage: "keep `LIST`: mode, ownership, timestamps, links, xattr, all"},
			&cli.BoolFlag{Name: "d", Usage: "as -P --preserve=links"},
			&cli.BoolFlag{Name: "dereference", Aliases: []string{"L"}, Usage: "follow all symbolic links, inside the image"},
			&cli.BoolFlag{Name: "no-dereference", Aliases: []string{"P"}, Usage: "copy symbolic links themselves (with -r the default)"},
			&cli.BoolFlag{Name: "H", Usage: "follow symbolic links among the arguments"},
			&cli.BoolFlag{Name: "no-clobber", Aliases: []string{"n"}, Usage: "leave existing files alone"},
			&cli.BoolFlag{Name: "update", Aliases: []string{"u"}, Usage: "into images: replace older files only"},
			&cli.StringFlag{Name: "owner", Usage: "into images: all belongs to `USER:GROUP`, names being the image's"},
			&cli.StringFlag{Name: "chmod", Usage: "into images: change permissions by `MODE`, as chmod has it"},
			&cli.BoolFlag{Name: "dry-run", Usage: "into images: change nothing, tell what would be copied"},
			&cli.BoolFlag{Name: "yes", Usage: "into images: write to a block device too"},
			&cli.BoolFlag{Name: "discard", Usage: "into images: give freed space back to the file or device"},
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "does nothing: existing files are replaced anyway"},
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "tell what is done"},
			&cli.BoolFlag{Name: "no-target-directory", Aliases: []string{"T"}, Usage: "DEST is the copy itself, also if it is a directory"},
			&cli.StringFlag{Name: "target-directory", Aliases: []string{"t"}, Usage: "copy all arguments into `DIR`"},
			&cli.StringFlag{Name: "sparse", Value: "auto", Usage: "holes: `auto`, always, never"},
			&cli.IntFlag{Name: "jobs", Aliases: []string{"j"}, Usage: "copy `N` files at a time (default: one for each processor)"},
		},
		Action: func(c *cli.Context) error {
			o, err := cpFlags(e, c)
			if err != nil {
				return err
			}
			args := c.Args().Slice()
			if o.targetDir == "" {
				if err := wantArgs(c, e, 2, -1); err != nil {
					return err
				}
				return e.cp(args[:len(args)-1], args[len(args)-1], o)
			}
			if err := wantArgs(c, e, 1, -1); err != nil {
				return err
			}
			return e.cp(args, o.targetDir, o)
		},
	}
}

func cpFlags(e *env, c *cli.Context) (cpOptions, error) {
	o := cpOptions{
		archive: c.Bool("archive"), follow: c.Bool("dereference"), followArgs: c.Bool("H"),
		noFollow: c.Bool("no-dereference") || c.Bool("d"), noTargetDir: c.Bool("no-target-directory"),
		targetDir: c.String("target-directory"), verbose: c.Bool("verbose"),
		update: c.Bool("update"), owner: c.String("owner"), chmod: c.String("chmod"),
	}
	e.dry, e.yes, e.discard = c.Bool("dry-run"), c.Bool("yes"), c.Bool("discard")
	o.recursive = c.Bool("recursive") || o.archive
	if o.noTargetDir && o.targetDir != "" {
		return o, e.usagef("-t and -T exclude each other")
	}
	if c.Int("jobs") < 0 {
		return o, e.usagef("--jobs: want a number from 1 on")
	}
	x := &o.engine
	x.Workers = c.Int("jobs")
	if c.Bool("no-clobber") {
		x.Existing = extract.Skip
	}
	switch c.String("sparse") {
	case "auto":
	case "always":
		x.Sparse = extract.SparseAlways
	case "never":
		x.Sparse = extract.SparseNever
	default:
		return o, e.usagef("--sparse %s: want auto, always or never", c.String("sparse"))
	}
	if c.Bool("p") {
		x.Mode, x.Owner, x.Times, x.ACLs = true, true, true, true
	}
	if c.Bool("d") {
		x.Links = true
	}
	if o.archive {
		preserveAll(x)
	}
	if c.IsSet("preserve") {
		return o, preserve(e, x, c.String("preserve"))
	}
	return o, nil
}

func preserveAll(x *extract.Options) {
	x.Mode, x.Owner, x.Times, x.Links, x.Xattrs, x.ACLs, x.Devices = true, true, true, true, true, true, true
}

func preserve(e *env, x *extract.Options, list string) error {
	for _, word := range strings.Split(list, ",") {
		switch word {
		case "mode":
			x.Mode, x.ACLs = true, true
		case "ownership":
			x.Owner = true
		case "timestamps":
			x.Times = true
		case "links":
			x.Links = true
		case "xattr":
			x.Xattrs, x.StrictXattrs = true, true
		case "context": // security.selinux is an attribute like others
			x.Xattrs = true
		case "all":
			preserveAll(x)
		default:
			return e.usagef("--preserve: unknown attribute %q", word)
		}
	}
	return nil
}

// followsArg is how the last element of an argument is taken.
func (o *cpOptions) followsArg() follow {
	switch {
	case o.noFollow:
		return noFollowLast
	case o.follow, o.followArgs:
		return followLast
	}
	return followIf(!o.recursive)
}

// cp copies out of images, or into one: the destination tells.
func (e *env) cp(args []string, dest string, o cpOptions) error {
	if t, err := parseTarget(dest); err == nil && t.given {
		return e.cpInto(args, dest, o)
	}
	if o.update || o.owner != "" || o.chmod != "" || e.dry {
		return e.usagef("--update, --owner, --chmod and --dry-run are for copies into an image: DEST is IMAGE:/PATH then")
	}
	return runCp(e, args, dest, o)
}

// cpRecord is the summary in JSON.
type cpRecord struct {
	Files  int64 `json:"files"`
	Bytes  int64 `json:"bytes"`
	Failed int64 `json:"failed"`
}

// runCp copies what args name to dest.
func runCp(e *env, args []string, dest string, o cpOptions) error {
	nodes, err := e.resolveAll(args, o.followsArg())
	if err != nil {
		return err
	}
	if len(nodes) == 0 {
		return nil
	}
	if dest == "-" {
		return e.cpToStdout(nodes)
	}
	plan, err := planCopies(e, nodes, dest, len(args) > 1, o)
	if err != nil {
		return err
	}
	var sum cpRecord
	state := copyState{total: e.totalOf(nodes)}
	for _, n := range plan.streams {
		if err := e.copyInto(n.node, n.dest); err != nil {
			e.failAt(n.node, err)
			continue
		}
		e.did()
		sum.Files++
		sum.Bytes += n.node.inode.Size()
	}
	for _, group := range plan.groups {
		r, err := e.copyGroup(group, o, &state)
		sum.Files, sum.Bytes, sum.Failed = sum.Files+r.Files, sum.Bytes+r.Bytes, sum.Failed+r.Failed
		if r.Files > 0 || r.Failed == 0 && err == nil {
			e.did()
		}
		if err != nil {
			if e.ctx.Err() != nil || isPipe(err) {
				return err
			}
			e.fail(err)
			break
		}
	}
	e.endProgress()
	if e.json {
		return e.writeJSON(sum)
	}
	return nil
}

// copyState joins the progress of several jobs.
type copyState struct {
	total                    total
	filesBefore, bytesBefore int64
}

// copyGroup copies the items of one image.
func (e *env) copyGroup(g *copyGroup, o cpOptions, state *copyState) (extract.Result, error) {
	x := o.engine
	x.Follow = o.follow
	x.Error = func(path string, err error) { e.fail(at(g.img.name, path, err)) }
	x.Warn = func(path string, err error) { e.note("%s: %s: warning: %v", g.img.name, path, err) }
	var outErr error
	if o.verbose {
		x.Done = func(path, dest string) {
			if err := e.copied(g.img, path, dest); outErr == nil {
				outErr = err
			}
		}
	}
	if e.wantsProgress() {
		x.Progress = func(p extract.ProgressInfo) {
			e.showProgressLocked(progressState{
				done: state.bytesBefore + p.Bytes, total: state.total.bytes,
				files: state.filesBefore + p.Files, ofMany: state.total.files, what: p.Path,
			})
		}
	}
	job := extract.New(g.img.fs, x)
	for _, it := range g.items {
		job.Add(it)
	}
	r, err := job.Run(e.ctx)
	state.filesBefore += r.Files
	state.bytesBefore += r.Bytes
	if err == nil {
		err = outErr
	}
	return r, hostError(err)
}

// copiedRecord is a copied file in JSON, for -v.
type copiedRecord struct {
	Image  string   `json:"image"`
	Source jsonPath `json:"source"`
	Dest   jsonPath `json:"dest"`
}

// copied tells of a copied file.
func (e *env) copied(img *image, path, dest string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.json {
		return e.writeJSON(copiedRecord{img.name, newJSONPath(path), newJSONPath(dest)})
	}
	_, err := fmt.Fprintf(e.writer(), "'%s:%s' -> '%s'\n", e.shown(img.name), e.shown(path), e.shown(dest))
	if err == nil {
		err = e.endLine()
	}
	return err
}
