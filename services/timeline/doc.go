// Package timeline tells what became of one registration.
package timeline
