package main

import (
	"slices"

	"github.com/e4kit/e4kit/ext4fs/format"
)

// The words that flags of mkfs take.
var (
	mkfsTypes      = []string{"ext2", "ext3", "ext4"}
	mkfsErrors     = []string{"continue", "remount-ro", "panic"}
	mkfsFormats    = []string{"raw", "android", "gz", "zst"}
	mkfsPartitions = []string{"gpt", "mbr"}
)

// mkfsValues are those words by the flag's name, for completion.
var mkfsValues = map[string]func() []string{
	"type":      func() []string { return mkfsTypes },
	"errors":    func() []string { return mkfsErrors },
	"format":    func() []string { return mkfsFormats },
	"partition": func() []string { return mkfsPartitions },
	"partition-type": func() []string {
		return []string{"linux", "root-386", "root-amd64", "root-arm", "root-arm64", "root-ppc64le", "root-riscv64", "root-s390x"}
	},
	"usage-type": format.UsageTypes,
	"profile": func() []string {
		names := []string{"list"}
		for _, p := range format.Profiles() {
			names = append(names, p.Name)
		}
		return slices.Sorted(slices.Values(names))
	},
}
