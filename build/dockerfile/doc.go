// SPDX-License-Identifier: Apache-2.0

// Package dockerfile builds what a Dockerfile says that runs nothing.
package dockerfile
