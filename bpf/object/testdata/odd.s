# What compilers rarely emit: aliases, functions without a size, labels inside
# functions, references to them, code addresses in data, a jump table of the
# program's own, and functions that are left alone among others that move.

	.text
	.globl	sub_a
	.type	sub_a,@function
sub_a:
	r0 = r1
	r0 += 1
	exit
.Lend_a:
	.size	sub_a, .Lend_a-sub_a
	.globl	alias_a
	.type	alias_a,@function
	.set	alias_a, sub_a

# No size.
	.type	sub_b,@function
sub_b:
	r6 = r1
	call sub_a
	r1 = r6
	r0 += r1
	exit

# Its inside is referred to: left alone.
	.globl	sub_c
	.type	sub_c,@function
sub_c:
	r0 = 3
	if r1 == 0 goto .Linner
	r0 = 4
	call sub_b
	.globl	inner
inner:
.Linner:
	r0 += 5
	call sub_a
	exit
.Lend_c:
	.size	sub_c, .Lend_c-sub_c

	.type	sub_d,@function
sub_d:
	r6 = r1
	call sub_b
	r0 ^= 9
	exit
.Lend_d:
	.size	sub_d, .Lend_d-sub_d

	.section	socket,"ax",@progbits
	.globl	main
	.type	main,@function
main:
	r6 = r1
	r1 = 7
	call sub_d
	r7 = r0
	r1 = 8
	call alias_a
	r0 += r7
	r1 = r0
.globl somewhere
somewhere:
	call sub_c
	r2 = sub_d ll
	r3 = sub_b ll
	r4 = table ll
	exit
.Lend_main:
	.size	main, .Lend_main-main

	.globl	second
	.type	second,@function
second:
	r1 = 1
	call sub_b
	exit
.Lend_second:
	.size	second, .Lend_second-second

	.section	.data,"aw",@progbits
	.p2align	3
	.globl	table
	.type	table,@object
table:
	.quad	sub_b
	.quad	sub_d
	.quad	inner
	.quad	second
	.size	table, 32

	.section	license,"aw",@progbits
	.globl	_license
	.type	_license,@object
_license:
	.asciz	"GPL"
	.size	_license, 4
