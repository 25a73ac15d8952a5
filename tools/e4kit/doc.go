// Command e4kit works on ext2, ext3 and ext4 images without mounting them.
//
// Every verb has a file of its own: a function xxxCommand with the flags and
// the help, and a function runXxx that takes plain values and an env. It
// knows nothing of the layout of ext4; that is the library's.
package main
