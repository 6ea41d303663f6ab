// SPDX-License-Identifier: Apache-2.0

// Package watch waits for files to change.
package watch
