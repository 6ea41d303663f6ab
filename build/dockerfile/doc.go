// SPDX-License-Identifier: Apache-2.0

// Package dockerfile builds what a Dockerfile says that runs nothing.
//
// The file is read with BuildKit's own parser; see [New] for what is done with
// it, and decision 21 for where that differs from BuildKit. An evaluation goes
// through the stages that a target needs, for one platform. Each stage is a
// build.Stack, to which instructions add what they mean; package place does it
// for COPY and ADD.
package dockerfile
