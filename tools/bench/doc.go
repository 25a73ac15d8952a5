// Command bench measures e4kit against its peers: the kernel's loop mount with
// cp or find, and e2fsprogs. It is what "make bench" runs, and it needs root,
// loop devices, e2fsprogs and about 9 GiB of disk.
//
//	go run ./tools/bench [--only REGEX] [--rounds N] [--small] [--slow] [--json] [--list]
//
// # How it measures
//
// Peer and e4kit run in turn, each round in the other order, and what counts
// is the median over the rounds of the ratio of e4kit to the peer: what else
// the machine does then disturbs both. Of jobs that take milliseconds there are
// more rounds, and it is the ratio of the medians. The image lies on a disk and,
// but for the jobs that say cold, in the page cache. Trees go to a tmpfs, and so
// does what the programs print.
//
// Cold means that the image was dropped from the page cache by posix_fadvise,
// which disturbs nobody else; the programs themselves stay warm.
//
// Wall time is that of all commands of a side, mount and umount included. CPU
// time is the user and system time that the kernel charges to those commands
// and their children; what kernel threads do for a loop device is not in it,
// which favours the kernel's side. Memory is the peak resident set. Commands
// are started by a second copy of this program, since Linux counts the parent's
// memory in the peak of a child.
//
// Images that are made lie on the tmpfs, sources too, but for the jobs that say
// disk, and are new files every time. For them it is told what they take of the host's disk and, of empty
// ones, in how many writes they were made, which strace counts in a run of its
// own. Where tar2ext4 is installed it is measured too.
//
// # A wrong answer is no result
//
// Before the rounds each side runs once to warm up, and what e4kit made is
// compared with what the peer made: whole trees by their manifests (types,
// modes, owners, times, links, contents, attributes), listings by numbers
// taken from every line. After each round the sizes and counts are compared
// again. A difference ends the job and the program fails.
package main
