package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs/device"
)

// mkfsOutput reads what form the result has.
func (e *env) mkfsOutput(c *cli.Context, o *mkfsOptions) error {
	o.output = c.String("format")
	if o.output == "" {
		o.output = formatByName(c.Args().First())
	}
	if !slices.Contains(mkfsFormats, o.output) {
		return e.usagef("--format %s: want %s", o.output, strings.Join(mkfsFormats, ", "))
	}
	if o.partition != "" && !slices.Contains(mkfsPartitions, o.partition) {
		return e.usagef("--partition %s: want %s", o.partition, strings.Join(mkfsPartitions, " or "))
	}
	if err := e.partitionType(c.String("partition-type"), o); err != nil {
		return err
	}
	o.offset = o.format.Offset
	if c.IsSet("offset") {
		n, err := parseSize(c.String("offset"))
		if err != nil {
			return e.usagef("--offset: %v", err)
		}
		o.offset = n
	}
	switch {
	case o.offset%512 != 0:
		return e.usagef("--offset %d: want a multiple of 512", o.offset)
	case o.offset > 0 && o.partition != "":
		return e.usagef("--offset and --partition exclude each other")
	case o.offset > 0 && o.output != "raw":
		return e.usagef("--offset goes with --format raw only")
	}
	return nil
}

// partitionType reads what the partition says that it holds.
func (e *env) partitionType(text string, o *mkfsOptions) error {
	if text == "" {
		return nil
	}
	if o.partition != "gpt" {
		return e.usagef("--partition-type goes with --partition gpt only")
	}
	guid := text
	if text == "linux" {
		guid = device.LinuxDataGUID
	} else if arch, ok := strings.CutPrefix(text, "root-"); ok {
		if guid, ok = device.RootGUID(arch); !ok {
			return e.usagef("--partition-type %s: there is no type for root partitions of %q", text, arch)
		}
	}
	var err error
	if o.kind, err = device.ParseGUID(guid); err != nil || o.kind == (device.GUID{}) {
		return e.usagef("--partition-type %s: want linux, root-ARCH such as root-amd64, or a GUID", text)
	}
	return nil
}

// formatByName is the form that the ending of a name stands for.
func formatByName(name string) string {
	for _, f := range []struct{ ending, format string }{
		{".simg", "android"}, {".gz", "gz"}, {".zst", "zst"}, {".zstd", "zst"},
	} {
		if strings.HasSuffix(strings.ToLower(name), f.ending) {
			return f.format
		}
	}
	return "raw"
}

// convert writes what was made in the form that was asked for.
func (e *env) convert(out *newFile, p *place, o *mkfsOptions) error {
	progress := func(done, total int64) {
		e.showProgressLocked(progressState{done: done, total: total, what: out.path})
	}
	if !e.wantsProgress() {
		progress = nil
	}
	if o.output == "android" {
		return device.WriteAndroidSparse(e.ctx, out.f, p.disk, device.AndroidOptions{Progress: progress})
	}
	c := device.CompressOptions{Format: device.Gzip, Progress: progress}
	if o.output == "zst" {
		c.Format = device.Zstd
	}
	return device.WriteCompressed(e.ctx, out.f, p.disk, c)
}
