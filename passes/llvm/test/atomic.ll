; Relaxed atomic load, operation and store become one operation; where the source
; does not say atomic, or says more than relaxed, nothing changes.
;
; RUN: %opt -passes=k2-atomic -S %s | %FileCheck %s
; RUN: sed -e s/bpfel/bpfeb/ -e 's/= "e-/= "E-/' %s | %opt -passes=k2-atomic -S | %FileCheck %s

target datalayout = "e-m:e-p:64:64-i64:64-i128:128-n32:64-S128"
target triple = "bpfel"

@total = dso_local global i64 0, align 8
@other = dso_local global i64 0, align 8
@word = dso_local global i32 0, align 4
@short = dso_local global i16 0, align 2

; CHECK-LABEL: @add(
; CHECK-NEXT: atomicrmw add ptr @total, i64 %x monotonic, align 8
; CHECK-NEXT: atomicrmw add ptr @word, i32 1 monotonic, align 4
; CHECK-NEXT: ret
define i32 @add(i64 %x) {
  %old = load atomic i64, ptr @total monotonic, align 8
  %new = add i64 %x, %old
  store atomic i64 %new, ptr @total monotonic, align 8
  %old1 = load atomic i32, ptr @word monotonic, align 4
  %new1 = add i32 %old1, 1
  store atomic i32 %new1, ptr @word monotonic, align 4
  ret i32 0
}

; CHECK-LABEL: @bits(
; CHECK-NEXT: atomicrmw or ptr @total, i64 %x monotonic, align 8
; CHECK-NEXT: atomicrmw and ptr @total, i64 %x monotonic, align 8
; CHECK-NEXT: atomicrmw xor ptr @total, i64 %x monotonic, align 8
; CHECK-NEXT: ret
define i32 @bits(i64 %x) "target-cpu"="v3" {
  %a = load atomic i64, ptr @total monotonic, align 8
  %b = or i64 %a, %x
  store atomic i64 %b, ptr @total monotonic, align 8
  %c = load atomic i64, ptr @total monotonic, align 8
  %d = and i64 %c, %x
  store atomic i64 %d, ptr @total monotonic, align 8
  %e = load atomic i64, ptr @total monotonic, align 8
  %f = xor i64 %e, %x
  store atomic i64 %f, ptr @total monotonic, align 8
  ret i32 0
}

; No such instruction before v3.
; CHECK-LABEL: @bits_v2(
; CHECK-NOT: atomicrmw
; CHECK: ret
define i32 @bits_v2(i64 %x) "target-cpu"="v2" {
  %a = load atomic i64, ptr @total monotonic, align 8
  %b = or i64 %a, %x
  store atomic i64 %b, ptr @total monotonic, align 8
  ret i32 0
}

; CHECK-LABEL: @not_atomic(
; CHECK-NOT: atomicrmw
; CHECK: ret
define i32 @not_atomic(i64 %x) {
  %a = load i64, ptr @total, align 8
  %b = add i64 %a, %x
  store i64 %b, ptr @total, align 8
  %c = load volatile i64, ptr @total, align 8
  %d = add i64 %c, %x
  store volatile i64 %d, ptr @total, align 8
  %e = load atomic i64, ptr @total monotonic, align 8
  %f = add i64 %e, %x
  store i64 %f, ptr @total, align 8
  %g = load i64, ptr @total, align 8
  %h = add i64 %g, %x
  store atomic i64 %h, ptr @total monotonic, align 8
  ret i32 0
}

; CHECK-LABEL: @special(
; CHECK-NOT: atomicrmw
; CHECK: ret
define i32 @special(i64 %x) {
  %a = load atomic volatile i64, ptr @total monotonic, align 8
  %b = add i64 %a, %x
  store atomic volatile i64 %b, ptr @total monotonic, align 8
  %c = load atomic i64, ptr @total acquire, align 8
  %d = add i64 %c, %x
  store atomic i64 %d, ptr @total release, align 8
  %e = load atomic i64, ptr @total monotonic, align 8
  %f = add i64 %e, %x
  store atomic i64 %f, ptr @total release, align 8
  %g = load atomic i64, ptr @total syncscope("singlethread") monotonic, align 8
  %h = add i64 %g, %x
  store atomic i64 %h, ptr @total syncscope("singlethread") monotonic, align 8
  %i = load atomic i16, ptr @short monotonic, align 2
  %j = add i16 %i, 1
  store atomic i16 %j, ptr @short monotonic, align 2
  ret i32 0
}

; CHECK-LABEL: @unfit(
; CHECK-NOT: atomicrmw
; CHECK: ret
define i64 @unfit(i64 %x) {
  ; another place
  %a = load atomic i64, ptr @other monotonic, align 8
  %b = add i64 %a, %x
  store atomic i64 %b, ptr @total monotonic, align 8
  ; the result is wanted
  %c = load atomic i64, ptr @total monotonic, align 8
  %d = add i64 %c, %x
  store atomic i64 %d, ptr @total monotonic, align 8
  ; something comes between
  %e = load atomic i64, ptr @total monotonic, align 8
  store i64 %x, ptr @other, align 8
  %f = add i64 %e, %x
  store atomic i64 %f, ptr @total monotonic, align 8
  ; no such operation
  %g = load atomic i64, ptr @total monotonic, align 8
  %h = shl i64 %g, 1
  store atomic i64 %h, ptr @total monotonic, align 8
  ret i64 %d
}

; The verifier knows atomics on packets and the context as none; of arguments and
; arenas nobody knows.
; CHECK-LABEL: @elsewhere(
; CHECK-NOT: atomicrmw
; CHECK: ret
define i32 @elsewhere(ptr %ctx, ptr addrspace(1) %arena, ptr %p) {
  %word = load i32, ptr %ctx, align 4
  %wide = zext i32 %word to i64
  %data = inttoptr i64 %wide to ptr
  %a = load atomic i64, ptr %data monotonic, align 8
  %b = add i64 %a, 1
  store atomic i64 %b, ptr %data monotonic, align 8
  %c = load atomic i64, ptr %ctx monotonic, align 8
  %d = add i64 %c, 1
  store atomic i64 %d, ptr %ctx monotonic, align 8
  %e = load atomic i64, ptr addrspace(1) %arena monotonic, align 8
  %f = add i64 %e, 1
  store atomic i64 %f, ptr addrspace(1) %arena monotonic, align 8
  %g = load atomic i64, ptr %p monotonic, align 8
  %h = add i64 %g, 1
  store atomic i64 %h, ptr %p monotonic, align 8
  ret i32 0
}
