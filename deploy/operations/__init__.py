"""Operations that pyinfra lacks: each compares a fact and yields commands only on a difference."""
