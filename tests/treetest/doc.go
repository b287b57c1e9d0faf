// Package treetest makes random trees of files for tests. Equal seeds make equal trees.
package treetest
