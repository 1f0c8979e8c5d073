; Adjacent loads and stores become one where the verifier allows that.
;
; RUN: %opt -passes=k2-merge -S %s | %FileCheck %s --check-prefixes=CHECK,EL
; RUN: sed -e s/bpfel/bpfeb/ -e 's/= "e-/= "E-/' %s | %opt -passes=k2-merge -S | %FileCheck %s --check-prefixes=CHECK,EB

target datalayout = "e-m:e-p:64:64-i64:64-i128:128-n32:64-S128"
target triple = "bpfel"

@data = dso_local global [16 x i8] zeroinitializer, align 1
@more = dso_local global [16 x i8] zeroinitializer, align 1

declare void @use(ptr)

; CHECK-LABEL: @little(
; EL: [[N:%.*]] = load i32, ptr @data, align 4
; EB: [[L:%.*]] = load i32, ptr @data, align 4
; EB: [[N:%.*]] = call i32 @llvm.bswap.i32(i32 [[L]])
; CHECK-NEXT: ret i32 [[N]]
define i32 @little(ptr %ctx) {
  %a = load i8, ptr @data, align 1
  %b = load i8, ptr getelementptr (i8, ptr @data, i64 1), align 1
  %c = load i8, ptr getelementptr (i8, ptr @data, i64 2), align 1
  %d = load i8, ptr getelementptr (i8, ptr @data, i64 3), align 1
  %aw = zext i8 %a to i32
  %bw = zext i8 %b to i32
  %cw = zext i8 %c to i32
  %dw = zext i8 %d to i32
  %bs = shl i32 %bw, 8
  %cs = shl i32 %cw, 16
  %ds = shl i32 %dw, 24
  %ab = or i32 %aw, %bs
  %abc = or i32 %ab, %cs
  %abcd = or i32 %abc, %ds
  ret i32 %abcd
}

; As network headers are read, the last byte first.
; CHECK-LABEL: @network(
; EL: [[L:%.*]] = load i16, ptr %p, align 2
; EL: [[N:%.*]] = call i16 @llvm.bswap.i16(i16 [[L]])
; EB: [[N:%.*]] = load i16, ptr %p, align 2
; CHECK-NEXT: [[W:%.*]] = zext i16 [[N]] to i32
; CHECK-NEXT: ret i32 [[W]]
define i32 @network(ptr %ctx) {
  %word = load i32, ptr %ctx, align 4
  %wide = zext i32 %word to i64
  %data = inttoptr i64 %wide to ptr
  %p = getelementptr i8, ptr %data, i64 12
  %q = getelementptr i8, ptr %data, i64 13
  %a = load i8, ptr %p, align 1
  %b = load i8, ptr %q, align 1
  %aw = zext i8 %a to i32
  %bw = zext i8 %b to i32
  %as = shl i32 %aw, 8
  %ab = or i32 %as, %bw
  ret i32 %ab
}

; CHECK-LABEL: @not_one_number(
; CHECK-COUNT-6: load i8
; CHECK: ret
define i32 @not_one_number(ptr %ctx) {
  %a = load i8, ptr @data, align 1
  %b = load i8, ptr getelementptr (i8, ptr @data, i64 2), align 1
  %aw = zext i8 %a to i32
  %bw = zext i8 %b to i32
  %bs = shl i32 %bw, 8
  %ab = or i32 %aw, %bs
  ; bits overlap
  %c = load i8, ptr @more, align 1
  %d = load i8, ptr getelementptr (i8, ptr @more, i64 1), align 1
  %cw = zext i8 %c to i32
  %dw = zext i8 %d to i32
  %ds = shl i32 %dw, 4
  %cd = or i32 %cw, %ds
  ; bits get lost
  %e = load i8, ptr getelementptr (i8, ptr @more, i64 4), align 1
  %f = load i8, ptr getelementptr (i8, ptr @more, i64 5), align 1
  %ew = zext i8 %e to i12
  %fw = zext i8 %f to i12
  %fs = shl i12 %fw, 8
  %ef = or i12 %ew, %fs
  %efw = zext i12 %ef to i32
  %x = add i32 %ab, %cd
  %y = add i32 %x, %efw
  ret i32 %y
}

; CHECK-LABEL: @load_special(
; CHECK-NOT: load i16
; CHECK: ret
define i32 @load_special(ptr %ctx, ptr addrspace(1) %arena, ptr %p) {
  %a = load volatile i8, ptr @data, align 1
  %b = load i8, ptr getelementptr (i8, ptr @data, i64 1), align 1
  %aw = zext i8 %a to i32
  %bw = zext i8 %b to i32
  %bs = shl i32 %bw, 8
  %ab = or i32 %aw, %bs
  %c = load atomic i8, ptr @more monotonic, align 1
  %d = load atomic i8, ptr getelementptr (i8, ptr @more, i64 1) monotonic, align 1
  %cw = zext i8 %c to i32
  %dw = zext i8 %d to i32
  %ds = shl i32 %dw, 8
  %cd = or i32 %cw, %ds
  %arena1 = getelementptr i8, ptr addrspace(1) %arena, i64 1
  %e = load i8, ptr addrspace(1) %arena, align 1
  %f = load i8, ptr addrspace(1) %arena1, align 1
  %ew = zext i8 %e to i32
  %fw = zext i8 %f to i32
  %fs = shl i32 %fw, 8
  %ef = or i32 %ew, %fs
  %ctx1 = getelementptr i8, ptr %ctx, i64 1
  %g = load i8, ptr %ctx, align 1
  %h = load i8, ptr %ctx1, align 1
  %gw = zext i8 %g to i32
  %hw = zext i8 %h to i32
  %hs = shl i32 %hw, 8
  %gh = or i32 %gw, %hs
  %p1 = getelementptr i8, ptr %p, i64 1
  %i = load i8, ptr %p, align 1
  %j = load i8, ptr %p1, align 1
  %iw = zext i8 %i to i32
  %jw = zext i8 %j to i32
  %js = shl i32 %jw, 8
  %ij = or i32 %iw, %js
  %x1 = add i32 %ab, %cd
  %x2 = add i32 %x1, %ef
  %x3 = add i32 %x2, %gh
  %x4 = add i32 %x3, %ij
  ret i32 %x4
}

; A store or a call between may change the second byte.
; CHECK-LABEL: @load_changed(
; CHECK-NOT: load i16
; CHECK: ret
define i32 @load_changed(ptr %ctx, i64 %i) {
  %a = load i8, ptr @data, align 1
  %p = getelementptr i8, ptr @data, i64 %i
  store i8 0, ptr %p, align 1
  %b = load i8, ptr getelementptr (i8, ptr @data, i64 1), align 1
  %aw = zext i8 %a to i32
  %bw = zext i8 %b to i32
  %bs = shl i32 %bw, 8
  %ab = or i32 %aw, %bs
  %c = load i8, ptr @more, align 1
  call void @use(ptr @more)
  %d = load i8, ptr getelementptr (i8, ptr @more, i64 1), align 1
  %cw = zext i8 %c to i32
  %dw = zext i8 %d to i32
  %ds = shl i32 %dw, 8
  %cd = or i32 %cw, %ds
  %x = add i32 %ab, %cd
  ret i32 %x
}

; A MAC address goes from the packet to the frame, and another one is written.
; CHECK-LABEL: @copy(
; CHECK: [[A:%.*]] = load i32, ptr %data, align 4
; CHECK: store i32 [[A]], ptr %mac, align 4
; CHECK: [[B:%.*]] = load i16, ptr %p4
; CHECK: store i16 [[B]], ptr %m4
; CHECK-NOT: store
; CHECK: call void @use
define i32 @copy(ptr %ctx) {
  %mac = alloca [6 x i8], align 4
  %word = load i32, ptr %ctx, align 4
  %wide = zext i32 %word to i64
  %data = inttoptr i64 %wide to ptr
  %p2 = getelementptr i8, ptr %data, i64 2
  %p4 = getelementptr i8, ptr %data, i64 4
  %m2 = getelementptr i8, ptr %mac, i64 2
  %m4 = getelementptr i8, ptr %mac, i64 4
  %a = load i16, ptr %data, align 1
  store i16 %a, ptr %mac, align 2
  %b = load i16, ptr %p2, align 1
  store i16 %b, ptr %m2, align 2
  %c = load i16, ptr %p4, align 1
  store i16 %c, ptr %m4, align 2
  call void @use(ptr %mac)
  ret i32 0
}

; The frame is accessed where it is aligned alone.
; CHECK-LABEL: @copy_misaligned(
; CHECK-COUNT-2: store i16
; CHECK: call void @use
define i32 @copy_misaligned(ptr %ctx) {
  %mac = alloca [6 x i8], align 2
  %word = load i32, ptr %ctx, align 4
  %wide = zext i32 %word to i64
  %data = inttoptr i64 %wide to ptr
  %p2 = getelementptr i8, ptr %data, i64 2
  %m2 = getelementptr i8, ptr %mac, i64 2
  %a = load i16, ptr %data, align 1
  %b = load i16, ptr %p2, align 1
  store i16 %a, ptr %mac, align 2
  store i16 %b, ptr %m2, align 2
  call void @use(ptr %mac)
  ret i32 0
}

; CHECK-LABEL: @constants(
; EL-NEXT: store i32 67305985, ptr @data, align 4
; EB-NEXT: store i32 16909315, ptr @data, align 4
; CHECK-NEXT: ret
define i32 @constants(ptr %ctx) {
  store i8 2, ptr getelementptr (i8, ptr @data, i64 1), align 1
  store i8 1, ptr @data, align 1
  store i16 1027, ptr getelementptr (i8, ptr @data, i64 2), align 1
  ret i32 0
}

; Constants in the frame may be keys of arrays.
; CHECK-LABEL: @constants_in_frame(
; CHECK-COUNT-2: store i32
; CHECK: call void @use
define i32 @constants_in_frame(ptr %ctx) {
  %key = alloca [2 x i32], align 8
  %second = getelementptr i8, ptr %key, i64 4
  store i32 1, ptr %key, align 8
  store i32 2, ptr %second, align 4
  call void @use(ptr %key)
  ret i32 0
}

; CHECK-LABEL: @parts(
; EL-NEXT: store i32 %x, ptr @data, align 4
; EB-COUNT-4: store i8
; CHECK: ret
define i32 @parts(i32 %x) {
  %a = trunc i32 %x to i8
  %bs = lshr i32 %x, 8
  %b = trunc i32 %bs to i8
  %cs = lshr i32 %x, 16
  %c = trunc i32 %cs to i8
  %ds = lshr i32 %x, 24
  %d = trunc i32 %ds to i8
  store i8 %a, ptr @data, align 1
  store i8 %b, ptr getelementptr (i8, ptr @data, i64 1), align 1
  store i8 %c, ptr getelementptr (i8, ptr @data, i64 2), align 1
  store i8 %d, ptr getelementptr (i8, ptr @data, i64 3), align 1
  ret i32 0
}

; CHECK-LABEL: @parts_swapped(
; EL-COUNT-2: store i8
; EB: [[X:%.*]] = trunc i32 %x to i16
; EB-NEXT: store i16 [[X]], ptr @data, align 2
; CHECK-NEXT: ret
define i32 @parts_swapped(i32 %x) {
  %a = trunc i32 %x to i8
  %bs = lshr i32 %x, 8
  %b = trunc i32 %bs to i8
  store i8 %b, ptr @data, align 1
  store i8 %a, ptr getelementptr (i8, ptr @data, i64 1), align 1
  ret i32 0
}

; CHECK-LABEL: @store_special(
; CHECK-NOT: store i16
; CHECK: ret
define i32 @store_special(ptr %ctx, ptr addrspace(1) %arena, ptr %p) {
  store volatile i8 1, ptr @data, align 1
  store volatile i8 2, ptr getelementptr (i8, ptr @data, i64 1), align 1
  store atomic i8 1, ptr @more monotonic, align 1
  store atomic i8 2, ptr getelementptr (i8, ptr @more, i64 1) monotonic, align 1
  %arena1 = getelementptr i8, ptr addrspace(1) %arena, i64 1
  store i8 1, ptr addrspace(1) %arena, align 1
  store i8 2, ptr addrspace(1) %arena1, align 1
  %ctx1 = getelementptr i8, ptr %ctx, i64 1
  store i8 1, ptr %ctx, align 1
  store i8 2, ptr %ctx1, align 1
  %p1 = getelementptr i8, ptr %p, i64 1
  store i8 1, ptr %p, align 1
  store i8 2, ptr %p1, align 1
  ret i32 0
}

; Others may look at global data in between, so what is written there keeps its
; order; and what is read between the two has to find the first.
; CHECK-LABEL: @store_order(
; CHECK-COUNT-3: store i8
; CHECK: load i8
; CHECK: store i8
; CHECK: ret
define i8 @store_order(i64 %i) {
  store i8 1, ptr @data, align 1
  store i8 9, ptr @more, align 1
  store i8 2, ptr getelementptr (i8, ptr @data, i64 1), align 1
  %p = getelementptr i8, ptr @data, i64 %i
  %x = load i8, ptr %p, align 1
  store i8 3, ptr getelementptr (i8, ptr @data, i64 2), align 1
  ret i8 %x
}

; A bitfield is written along with bits that were there before.
; CHECK-LABEL: @bitfield(
; CHECK-NEXT: load i8
; CHECK-NEXT: and i8
; CHECK-NEXT: or
; CHECK-NEXT: store i8
; CHECK-NEXT: store i8
define i32 @bitfield(i8 %x) {
  %old = load i8, ptr @data, align 1
  %kept = and i8 %old, -4
  %new = or i8 %kept, %x
  store i8 %new, ptr @data, align 1
  store i8 1, ptr getelementptr (i8, ptr @data, i64 1), align 1
  ret i32 0
}
