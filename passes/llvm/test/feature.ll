; A function whose memory is packets and map values alone gets the backend's
; feature. It gets it for nothing that the verifier would refuse once the backend
; takes all memory to be of that kind.
;
; REQUIRES: llvm-22
; RUN: %opt -passes=k2-widen -S %s | %FileCheck %s

target datalayout = "e-m:e-p:64:64-i64:64-i128:128-n32:64-S128"
target triple = "bpfel"

declare void @use(ptr)

; CHECK-LABEL: define i32 @pure(
; CHECK-SAME: #[[FEATURE:[0-9]+]]
; CHECK: load i32, ptr %data, align 1
define i32 @pure(ptr %ctx) {
  %word = load i32, ptr %ctx, align 4
  %wide = zext i32 %word to i64
  %data = inttoptr i64 %wide to ptr
  %a = load i32, ptr %data, align 1
  ret i32 %a
}

; CHECK-LABEL: define i32 @joins(
; CHECK-SAME: #[[MORE:[0-9]+]]
define i32 @joins(ptr %ctx) "target-features"="+alu32" {
  %word = load i32, ptr %ctx, align 4
  %wide = zext i32 %word to i64
  %data = inttoptr i64 %wide to ptr
  %a = load i32, ptr %data, align 1
  ret i32 %a
}

; CHECK-LABEL: define i32 @aligned(ptr %ctx) {
define i32 @aligned(ptr %ctx) {
  %word = load i32, ptr %ctx, align 4
  %wide = zext i32 %word to i64
  %data = inttoptr i64 %wide to ptr
  %a = load i32, ptr %data, align 4
  ret i32 %a
}

; CHECK-LABEL: define i32 @frame(ptr %ctx) {
; CHECK: load i32, ptr %data, align 4
define i32 @frame(ptr %ctx) {
  %key = alloca i32
  call void @use(ptr %key)
  %word = load i32, ptr %ctx, align 4
  %wide = zext i32 %word to i64
  %data = inttoptr i64 %wide to ptr
  %a = load i32, ptr %data, align 1
  ret i32 %a
}

; The backend would make one volatile access of four, or one load of two fields.
; CHECK-LABEL: define i32 @volatile(ptr %ctx) {
define i32 @volatile(ptr %ctx) {
  %word = load i32, ptr %ctx, align 4
  %wide = zext i32 %word to i64
  %data = inttoptr i64 %wide to ptr
  %a = load volatile i32, ptr %data, align 1
  ret i32 %a
}

; CHECK-LABEL: define i64 @fields(ptr %ctx) {
; CHECK: load i64, ptr %data, align 8
define i64 @fields(ptr %ctx) {
  %word = load i32, ptr %ctx, align 4
  %wide = zext i32 %word to i64
  %data = inttoptr i64 %wide to ptr
  %a = load i64, ptr %data, align 1
  %next = getelementptr i8, ptr %ctx, i64 4
  %end = load i32, ptr %next, align 4
  %high = zext i32 %end to i64
  %shifted = shl i64 %high, 32
  %both = or i64 %wide, %shifted
  %sum = add i64 %both, %a
  ret i64 %sum
}

; CHECK-LABEL: define i32 @store(ptr %ctx) {
define i32 @store(ptr %ctx) {
  %word = load i32, ptr %ctx, align 4
  %wide = zext i32 %word to i64
  %data = inttoptr i64 %wide to ptr
  %a = load i32, ptr %data, align 1
  %field = getelementptr i8, ptr %ctx, i64 48
  store i32 %a, ptr %field, align 4
  ret i32 %a
}

; CHECK: attributes #[[FEATURE]] = { "target-features"="+allows-misaligned-mem-access" }
; CHECK: attributes #[[MORE]] = { "target-features"="+alu32,+allows-misaligned-mem-access" }
