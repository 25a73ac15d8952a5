package format_test

import (
	"slices"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/format"
)

// proofFactors are the options whose every two values meet in the proof.
var proofFactors = []factor{
	{"block", []string{"4096", "1024", "2048", "65536"}},
	{"inode", []string{"256", "128", "512", "1024"}},
	{"size", []string{"128M", "300001K", "3G"}},
	{"map", []string{"extent", "^extent"}},
	{"csum", []string{"metadata_csum", "metadata_csum_seed", "uninit_bg", "none"}},
	{"bits", []string{"64bit", "^64bit"}},
	{"flex", []string{"16", "^flex_bg", "4", "packed"}},
	{"cluster", []string{"1", "16"}},
	{"grow", []string{"resize_inode", "meta_bg", "none"}},
	{"backups", []string{"sparse_super", "sparse_super2", "none"}},
	{"journal", []string{"default", "none", "sized", "fast_commit"}},
	{"quota", []string{"none", "usrquota,grpquota", "prjquota"}},
	{"inline", []string{"no", "yes"}},
	{"orphan", []string{"no", "yes"}},
	{"values", []string{"blocks", "ea_inode"}},
	{"dirs", []string{"dir_index", "^dir_index", "large_dir"}},
	{"hash", []string{"half_md4", "tea", "legacy"}},
	{"more", []string{"none", "mmp", "casefold", "verity,stable_inodes,encrypt", "^filetype,^huge_file,^dir_nlink"}},
	{"inodes", []string{"ratio", "2000"}},
	{"groups", []string{"full", "2048"}},
}

// proof is the pairwise matrix.
var proof = &pairs{factors: proofFactors, allowed: proofAllowed}

// proofAllowed rules out what mke2fs refuses too, or what holds no tree.
func proofAllowed(p *pairs, r row) bool {
	is := func(name string, values ...string) bool { return slices.Contains(values, p.value(r, name)) }
	switch {
	case is("inode", "128") && (is("inline", "yes") || is("quota", "prjquota")),
		is("cluster", "16") && is("map", "^extent"),
		is("bits", "64bit") && is("map", "^extent"),
		// 64 KiB clusters of 1 MiB leave no room in the smallest.
		is("cluster", "16") && is("block", "65536"),
		is("backups", "sparse_super2") && is("grow", "resize_inode"),
		is("backups", "none") && is("grow", "resize_inode"),
		is("orphan", "yes") && is("journal", "none"),
		// A journal of 1024 blocks is the least.
		is("block", "65536") && is("journal", "sized"),
		is("more", "verity,stable_inodes,encrypt") && is("map", "^extent"),
		is("flex", "packed") && is("cluster", "16"):
		return false
	}
	return true
}

// proofOptions are the options that a row stands for.
func proofOptions(p *pairs, r row) format.Options {
	get := func(name string) string { return p.value(r, name) }
	o := format.Options{
		BlockSize: number(get("block")), InodeSize: number(get("inode")), Size: size(get("size")),
		HashAlgorithm: get("hash"), Zeroed: true, UUID: &[16]byte{0xe4, 1}, HashSeed: &[16]byte{0xe4, 2},
	}
	add := func(words ...string) {
		for _, w := range words {
			o.Features = append(o.Features, strings.Split(w, ",")...)
		}
	}
	add(get("map"), get("bits"), get("dirs"))
	switch get("csum") {
	case "metadata_csum_seed":
		add("metadata_csum,metadata_csum_seed")
	case "uninit_bg":
		add("^metadata_csum,uninit_bg")
	case "none":
		add("^metadata_csum,^uninit_bg")
	}
	switch get("flex") {
	case "^flex_bg":
		add("^flex_bg")
	case "packed":
		o.PackedMeta = true
	default:
		o.FlexSize = uint32(number(get("flex")))
	}
	if get("cluster") != "1" {
		add("bigalloc")
		o.ClusterSize = int64(o.BlockSize * number(get("cluster")))
	}
	switch get("grow") {
	case "meta_bg":
		add("^resize_inode,meta_bg")
	case "none":
		add("^resize_inode")
	}
	switch get("backups") {
	case "sparse_super2":
		add("^sparse_super,sparse_super2")
	case "none":
		add("^sparse_super")
	}
	proofJournal(get("journal"), &o)
	proofQuota(get("quota"), &o)
	if get("inline") == "yes" {
		add("inline_data")
	}
	if get("orphan") == "yes" {
		add("orphan_file")
	}
	if get("values") == "ea_inode" {
		add("ea_inode")
	}
	switch get("more") {
	case "none":
	case "casefold":
		o.Encoding = "utf8"
		add("casefold")
	default:
		add(get("more"))
	}
	if n := get("inodes"); n != "ratio" {
		o.Inodes = uint64(number(n))
	}
	if n := get("groups"); n != "full" {
		o.BlocksPerGroup = uint32(number(n))
	}
	return o
}

func proofJournal(kind string, o *format.Options) {
	switch kind {
	case "none":
		o.Features = append(o.Features, "^has_journal")
	case "sized":
		o.Journal.Size = 8 << 20
	case "fast_commit":
		o.Features = append(o.Features, "fast_commit")
	}
}

func proofQuota(kinds string, o *format.Options) {
	if kinds == "none" {
		return
	}
	o.Features = append(o.Features, "quota")
	for k := range strings.SplitSeq(kinds, ",") {
		switch k {
		case "usrquota":
			o.Quota = append(o.Quota, disk.QuotaUser)
		case "grpquota":
			o.Quota = append(o.Quota, disk.QuotaGroup)
		case "prjquota":
			o.Features = append(o.Features, "project")
			o.Quota = append(o.Quota, disk.QuotaUser, disk.QuotaGroup, disk.QuotaProject)
		}
	}
}

func number(s string) int { return int(size(s)) }

// size reads a number with K, M or G behind it.
func size(s string) int64 {
	n := int64(0)
	for _, c := range s {
		switch {
		case c >= '0' && c <= '9':
			n = n*10 + int64(c-'0')
		default:
			n <<= 10 * (1 + strings.IndexRune("KMG", c))
		}
	}
	return n
}
