"""Records of the living and the archive of the idle: how they are reached, reserved, packed and found."""
