#pragma once

#define NAME_LENGTH 16

struct name {
	char text[NAME_LENGTH];
};
