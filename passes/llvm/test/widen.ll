; Packed accesses to packets, map values and global data are made at full width;
; all others stay as they are.
;
; RUN: %opt -passes=k2-widen -S %s | %FileCheck %s
; RUN: sed -e s/bpfel/bpfeb/ -e 's/= "e-/= "E-/' %s | %opt -passes=k2-widen -S | %FileCheck %s

target datalayout = "e-m:e-p:64:64-i64:64-i128:128-n32:64-S128"
target triple = "bpfel"

@flows = dso_local global { ptr, ptr } zeroinitializer, section ".maps", align 8, !dbg !0
@sockets = dso_local global { ptr, ptr } zeroinitializer, section ".maps", align 8, !dbg !20
@untold = dso_local global { ptr, ptr } zeroinitializer, section ".maps", align 8
@data = dso_local global <{ i8, i32 }> zeroinitializer, align 1
@extern = external global <{ i8, i32 }>, section ".ksyms", align 1

declare void @use(ptr)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)

; CHECK-LABEL: @packet(
; CHECK: load i16, ptr %p, align 2
; CHECK: load i32, ptr %p, align 4
; CHECK: load i64, ptr %p, align 8
; CHECK: store i32 {{.*}}, ptr %q, align 4
define i32 @packet(ptr %ctx) {
  %word = load i32, ptr %ctx, align 4
  %wide = zext i32 %word to i64
  %data = inttoptr i64 %wide to ptr
  %p = getelementptr i8, ptr %data, i64 14
  %q = getelementptr i8, ptr %p, i64 %wide
  %a = load i16, ptr %p, align 1
  %b = load i32, ptr %p, align 1
  %c = load i64, ptr %p, align 4
  store i32 %b, ptr %q, align 2
  ret i32 0
}

; Pointers that move in a loop, as numbers too.
; CHECK-LABEL: @loop(
; CHECK: load i32, ptr %p, align 4
; CHECK: load i32, ptr %q, align 4
define i32 @loop(ptr %ctx) {
entry:
  %word = load i32, ptr %ctx, align 4
  %wide = zext i32 %word to i64
  %data = inttoptr i64 %wide to ptr
  br label %body
body:
  %p = phi ptr [ %data, %entry ], [ %next, %body ]
  %i = phi i64 [ %wide, %entry ], [ %j, %body ]
  %a = load i32, ptr %p, align 1
  %j = add i64 %i, 8
  %q = inttoptr i64 %j to ptr
  %b = load i32, ptr %q, align 1
  %next = getelementptr i8, ptr %p, i64 4
  %c = icmp eq i32 %a, %b
  br i1 %c, label %body, label %exit
exit:
  ret i32 0
}

; CHECK-LABEL: @values(
; CHECK: store i32 1, ptr %value, align 4
; CHECK: store i32 1, ptr %socket, align 1
; CHECK: store i32 1, ptr %any, align 1
; CHECK: store i32 1, ptr %record, align 4
; CHECK: store i32 1, ptr getelementptr (i8, ptr @data, i64 1), align 4
; CHECK: load i32, ptr @extern, align 1
define i32 @values(ptr %ctx) {
  %key = alloca i32
  %value = call ptr inttoptr (i64 1 to ptr)(ptr @flows, ptr %key)
  %socket = call ptr inttoptr (i64 1 to ptr)(ptr @sockets, ptr %key)
  %any = call ptr inttoptr (i64 1 to ptr)(ptr @untold, ptr %key)
  %record = call ptr inttoptr (i64 131 to ptr)(ptr @untold, i64 16, i64 0)
  store i32 1, ptr %value, align 1
  store i32 1, ptr %socket, align 1
  store i32 1, ptr %any, align 1
  store i32 1, ptr %record, align 1
  store i32 1, ptr getelementptr (i8, ptr @data, i64 1), align 1
  %x = load i32, ptr @extern, align 1
  ret i32 0
}

; Of two kinds both must allow it.
; CHECK-LABEL: @either(
; CHECK: load i32, ptr %p, align 1
; CHECK: load i32, ptr %q, align 4
define i32 @either(ptr %ctx, i1 %c) {
  %key = alloca i32
  %value = call ptr inttoptr (i64 1 to ptr)(ptr @flows, ptr %key)
  %p = select i1 %c, ptr %value, ptr %key
  %q = select i1 %c, ptr %value, ptr null
  %a = load i32, ptr %p, align 1
  %b = load i32, ptr %q, align 1
  ret i32 0
}

; CHECK-LABEL: @context(
; CHECK: load i32, ptr %field, align 1
; CHECK: store i32 1, ptr %field, align 1
define i32 @context(ptr %ctx) {
  %field = getelementptr i8, ptr %ctx, i64 48
  %a = load i32, ptr %field, align 1
  store i32 1, ptr %field, align 1
  ret i32 0
}

; CHECK-LABEL: @frame(
; CHECK: store i32 1, ptr %p, align 1
; CHECK: load i64, ptr %frame, align 4
define i32 @frame(ptr %ctx) {
  %frame = alloca [16 x i8], align 4
  %p = getelementptr i8, ptr %frame, i64 3
  store i32 1, ptr %p, align 1
  %a = load i64, ptr %frame, align 4
  call void @use(ptr %frame)
  ret i32 0
}

; Arguments of subprograms may lead anywhere, and so may pointers that are loaded.
; CHECK-LABEL: @subprogram(
; CHECK: load i32, ptr %p, align 1
; CHECK: load i32, ptr %loaded, align 1
define internal i32 @subprogram(ptr %p, ptr %q) {
  %a = load i32, ptr %p, align 1
  %loaded = load ptr, ptr %q, align 8
  %b = load i32, ptr %loaded, align 1
  ret i32 %a
}

; CHECK-LABEL: @special(
; CHECK: load volatile i32, ptr %data, align 1
; CHECK: store volatile i32 1, ptr %data, align 1
; CHECK: load atomic i32, ptr %data monotonic, align 1
; CHECK: load i32, ptr addrspace(1) %arena, align 1
; CHECK: load i32, ptr %cast, align 1
define i32 @special(ptr %ctx, ptr addrspace(1) %arena) {
  %word = load i32, ptr %ctx, align 4
  %wide = zext i32 %word to i64
  %data = inttoptr i64 %wide to ptr
  %a = load volatile i32, ptr %data, align 1
  store volatile i32 1, ptr %data, align 1
  %b = load atomic i32, ptr %data monotonic, align 1
  %c = load i32, ptr addrspace(1) %arena, align 1
  %cast = addrspacecast ptr addrspace(1) %arena to ptr
  %d = load i32, ptr %cast, align 1
  ret i32 0
}

; A bitfield is loaded as the bytes that hold it: those that are no power of two
; are the backend's to take apart.
; CHECK-LABEL: @bitfields(
; CHECK: load i24, ptr %data, align 1
; CHECK: load i16, ptr %data, align 2
; CHECK: load i8, ptr %data, align 1
define i32 @bitfields(ptr %ctx) {
  %word = load i32, ptr %ctx, align 4
  %wide = zext i32 %word to i64
  %data = inttoptr i64 %wide to ptr
  %a = load i24, ptr %data, align 1
  %b = load i16, ptr %data, align 1
  %c = load i8, ptr %data, align 1
  ret i32 0
}

; CHECK-LABEL: @blocks(
; CHECK: %mac = alloca [6 x i8], align 4
; CHECK: call void @llvm.memcpy.p0.p0.i64(ptr align 4 %mac, ptr align 4 %data, i64 6, i1 false)
; CHECK: call void @llvm.memcpy.p0.p0.i64(ptr align 8 %data, ptr align 8 %p, i64 16, i1 false)
; CHECK: call void @llvm.memcpy.p0.p0.i64(ptr align 1 %data, ptr align 1 %p, i64 16, i1 true)
; CHECK: call void @llvm.memcpy.p0.p0.i64(ptr align 1 %ctx, ptr align 8 %p, i64 16, i1 false)
; CHECK: call void @llvm.memset.p0.i64(ptr align 8 %p, i8 0, i64 8, i1 false)
define i32 @blocks(ptr %ctx) {
  %mac = alloca [6 x i8], align 2
  %word = load i32, ptr %ctx, align 4
  %wide = zext i32 %word to i64
  %data = inttoptr i64 %wide to ptr
  %p = getelementptr i8, ptr %data, i64 14
  call void @llvm.memcpy.p0.p0.i64(ptr align 2 %mac, ptr align 1 %data, i64 6, i1 false)
  call void @use(ptr %mac)
  call void @llvm.memcpy.p0.p0.i64(ptr align 1 %data, ptr align 2 %p, i64 16, i1 false)
  call void @llvm.memcpy.p0.p0.i64(ptr align 1 %data, ptr align 1 %p, i64 16, i1 true)
  call void @llvm.memcpy.p0.p0.i64(ptr align 1 %ctx, ptr align 1 %p, i64 16, i1 false)
  call void @llvm.memset.p0.i64(ptr align 1 %p, i8 0, i64 8, i1 false)
  ret i32 0
}

; CHECK-LABEL: @untouched(
; CHECK: load i32, ptr %data, align 1
define i32 @untouched(ptr %ctx) noinline optnone {
  %word = load i32, ptr %ctx, align 4
  %wide = zext i32 %word to i64
  %data = inttoptr i64 %wide to ptr
  %a = load i32, ptr %data, align 1
  ret i32 %a
}

!llvm.dbg.cu = !{!2}
!llvm.module.flags = !{!19}

!0 = !DIGlobalVariableExpression(var: !1, expr: !DIExpression())
!1 = distinct !DIGlobalVariable(name: "flows", scope: !2, file: !3, line: 1, type: !4, isLocal: false, isDefinition: true)
!2 = distinct !DICompileUnit(language: DW_LANG_C11, file: !3, isOptimized: true, runtimeVersion: 0, emissionKind: FullDebug, globals: !5)
!3 = !DIFile(filename: "x.c", directory: "/")
!4 = distinct !DICompositeType(tag: DW_TAG_structure_type, file: !3, line: 1, size: 128, elements: !6)
!5 = !{!0, !20}
!6 = !{!7, !13}
!7 = !DIDerivedType(tag: DW_TAG_member, name: "type", scope: !4, file: !3, line: 1, baseType: !8, size: 64)
!8 = !DIDerivedType(tag: DW_TAG_pointer_type, baseType: !9, size: 64)
!9 = !DICompositeType(tag: DW_TAG_array_type, baseType: !10, size: 32, elements: !11)
!10 = !DIBasicType(name: "int", size: 32, encoding: DW_ATE_signed)
!11 = !{!12}
!12 = !DISubrange(count: 1)
!13 = !DIDerivedType(tag: DW_TAG_member, name: "max_entries", scope: !4, file: !3, line: 1, baseType: !8, size: 64, offset: 64)
!19 = !{i32 2, !"Debug Info Version", i32 3}
!20 = !DIGlobalVariableExpression(var: !21, expr: !DIExpression())
!21 = distinct !DIGlobalVariable(name: "sockets", scope: !2, file: !3, line: 2, type: !22, isLocal: false, isDefinition: true)
!22 = distinct !DICompositeType(tag: DW_TAG_structure_type, file: !3, line: 2, size: 128, elements: !23)
!23 = !{!24}
!24 = !DIDerivedType(tag: DW_TAG_member, name: "type", scope: !22, file: !3, line: 2, baseType: !25, size: 64)
!25 = !DIDerivedType(tag: DW_TAG_pointer_type, baseType: !26, size: 64)
!26 = !DICompositeType(tag: DW_TAG_array_type, baseType: !10, size: 480, elements: !27)
!27 = !{!28}
!28 = !DISubrange(count: 15)
