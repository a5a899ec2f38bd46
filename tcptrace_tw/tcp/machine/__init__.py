"""What moves a state: RFC 9293, section by section."""
